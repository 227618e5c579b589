/**
 * Two neighbouring blocks of a tridiagonal matrix, each solved, joined to one by a rank-one correction (Cuppen 1981): deflation,
 * the roots of the secular equation, and products of matrices for the new eigenvectors.
 */
import { type Matrix, matrixAt, part, product } from './matrix.js'
import type { Team } from './team.js'

const EPSILON = 2 ** -53

/** Matrices and arrays in the team's memory. All have as many rows or elements as the matrix that is solved. */
export interface Workspace {
  readonly team: Team
  readonly beside: Float64Array
  /** Eigenvalues by row of `vectors`. */
  readonly values: Float64Array
  /** Eigenvectors of the blocks, in rows. */
  readonly vectors: Matrix
  /** By rank in its block, rising: the row that the block's eigenvector lies in. */
  readonly order: Int32Array
  /** While two blocks are joined: differences between roots and poles, a row for each root. */
  readonly spare: Matrix
  /** Address of the kept eigenvectors without the zeros in them. */
  readonly gathered: number
  /** The correction's weights, and their squares. */
  readonly z: Float64Array
  readonly z2: Float64Array
  /** Poles of the secular equation, and its roots. */
  readonly poles: Float64Array
  readonly found: Float64Array
  /** By kept eigenvector: its place among the gathered ones. */
  readonly places: Int32Array
}

/** Elements `from` to `end` of the matrix are joined from the blocks before and from `middle` on. */
interface Block {
  readonly from: number
  readonly middle: number
  readonly end: number
}

const rowAt = ({ vectors }: Workspace, row: number) => vectors.at + row * vectors.columns * 8
const rowOf = (work: Workspace, row: number) => work.team.f64(rowAt(work, row), work.vectors.columns)

/** Joins the two halves of a block. `wanted`: of the last block, how many of the largest values (falling) need vectors. */
export function join(work: Workspace, from: number, size: number, wanted?: (values: Float64Array) => number): void {
  const { team, beside, spare } = work
  const block = { from, middle: from + (size >> 1), end: from + size }
  const rho = 2 * Math.abs(beside[block.middle - 1]!)
  // Each thread computes the same; one of them writes what is shared.
  const ranks = mergedRanks(work, block)
  const plan = deflate(work, block, ranks, rho)
  const kept = plan.kept.map((rank) => ({ index: ranks[rank]!, side: plan.sides[rank]! }))
  team.barrier()
  team.once(() => applyDeflation(work, block, ranks, plan))
  solveSecular(work, kept.length, rho)
  const halves = gather(work, block, kept)
  const first = settle(
    work,
    block,
    kept.length,
    plan.deflated.map((rank) => ranks[rank]!),
    wanted,
  )
  const factors = matrixAt(spare.at, kept.length, kept.length)
  multiplyVectors(work, block, factors, first, halves)
}

/** Rotates the pairs of eigenvectors that are deflated, and writes what the secular equation is made of. */
function applyDeflation(work: Workspace, { from, end }: Block, ranks: readonly number[], plan: Deflation): void {
  const { team, values, poles, z, z2 } = work
  for (const { one, other, c, s } of plan.rotations)
    team.kernels.rotate(rowAt(work, ranks[one]!) + 8 * from, rowAt(work, ranks[other]!) + 8 * from, c, s, end - from)
  for (const [rank, index] of ranks.entries()) values[index] = plan.values[rank]!
  for (const [i, rank] of plan.kept.entries()) {
    poles[i] = plan.values[rank]!
    z[i] = plan.weights[rank]!
    z2[i] = z[i]! * z[i]!
  }
}

/** The k roots of the secular equation, and weights for which the roots are exact, so that vectors are orthogonal however near the roots. */
function solveSecular({ team, spare, poles, z, z2, found }: Workspace, k: number, rho: number): void {
  const { kernels } = team
  const gaps = spare.at
  let norm2 = 0
  for (let i = 0; i < k; i++) norm2 += z2[i]!
  team.each(k, (j) => {
    found[j] = kernels.secularRoot(k, poles.byteOffset, z2.byteOffset, rho, norm2, j, gaps + j * k * 8)
  })
  team.each(Math.ceil(k / 128), (share) => {
    const [first, last] = [share * 128, Math.min(k, share * 128 + 128)]
    z2.fill(1, first, last)
    kernels.weights(k, poles.byteOffset, gaps, k * 8, first, last, z2.byteOffset)
    for (let i = first; i < last; i++) z[i] = Math.sqrt(Math.abs(z2[i]!)) * (z[i]! < 0 ? -1 : 1)
  })
}

/** An eigenvector that the correction changes: its row, and which half of it is zero. */
interface Kept {
  readonly index: number
  readonly side: number
}

/** Kept eigenvectors without the zeros of one half: those of the upper block and of both, then those of both and of the lower one. */
interface Halves {
  readonly top: Matrix
  readonly bottom: Matrix
  /** How many come before the first row of `bottom`. */
  readonly above: number
}

/** Copies the kept eigenvectors so that two products of matrices have no zeros in them. */
function gather(work: Workspace, { from, middle, end }: Block, kept: readonly Kept[]): Halves {
  const { team, gathered, places } = work
  const k = kept.length
  const sequence = [0, 1, 2].flatMap((side) => kept.flatMap((entry, i) => (entry.side === side ? [i] : [])))
  const above = kept.filter(({ side }) => side === 0).length
  const top = matrixAt(gathered, kept.filter(({ side }) => side < 2).length, middle - from)
  const bottom = matrixAt(gathered + 8 * top.rows * top.columns, k - above, end - middle)
  team.each(k, (at) => {
    const i = sequence[at]!
    const old = rowOf(work, kept[i]!.index)
    if (at < top.rows) team.f64(top.at + at * top.columns * 8, top.columns).set(old.subarray(from, middle))
    if (at >= above)
      team.f64(bottom.at + (at - above) * bottom.columns * 8, bottom.columns).set(old.subarray(middle, end))
    places[i] = at
  })
  return { top, bottom, above }
}

/**
 * Moves deflated eigenvectors behind the k rows of the new ones, and writes the block's values and their order. Returns the first of
 * the new vectors that is wanted.
 */
function settle(
  work: Workspace,
  { from, end }: Block,
  k: number,
  deflated: readonly number[],
  wanted: ((values: Float64Array) => number) | undefined,
): number {
  const { team, values, found, order } = work
  // From the last one on, no row is moved onto one that is still to be moved.
  const moved = [...deflated].sort((a, b) => b - a)
  const settled = [...found.subarray(0, k), ...moved.map((index) => values[index]!).reverse()]
  const rising = [...settled.keys()].sort((a, b) => settled[a]! - settled[b]! || a - b)
  let first = 0
  if (wanted) {
    const count = wanted(Float64Array.from(rising, (at) => settled[at]!).reverse())
    const chosen = new Set(rising.slice(end - from - count))
    while (first < k && !chosen.has(first)) first++
  }
  team.barrier()
  team.once(() => {
    for (const [t, index] of moved.entries())
      if (index !== end - 1 - t) rowOf(work, end - 1 - t).set(rowOf(work, index))
    for (const [at, value] of settled.entries()) values[from + at] = value
    for (const [rank, at] of rising.entries()) order[from + rank] = from + at
  })
  return first
}

/** The new eigenvectors from `first` on: those of the rank-one correction times the gathered ones. */
function multiplyVectors(
  { team, vectors, z, places }: Workspace,
  { from, middle, end }: Block,
  factors: Matrix,
  first: number,
  { top, bottom, above }: Halves,
): void {
  const k = factors.rows
  team.each(k - first, (share) => {
    const at = factors.at + (first + share) * k * 8
    team.kernels.secularVector(k, z.byteOffset, at, places.byteOffset, team.scratch)
    team.f64(at, k).set(team.f64(team.scratch, k))
  })
  const count = k - first
  const target = part(vectors, from + first, from, count, end - from)
  product(team, part(target, 0, 0, count, middle - from), part(factors, first, 0, count, top.rows), top)
  product(
    team,
    part(target, 0, middle - from, count, end - middle),
    part(factors, first, above, count, bottom.rows),
    bottom,
  )
}

/** Rows of two blocks by rising value; of equal ones those of the first block come first. */
function mergedRanks({ order, values }: Workspace, { from, middle, end }: Block): readonly number[] {
  const ranks: number[] = []
  let [one, other] = [from, middle]
  while (one < middle || other < end) {
    const first = other === end || (one < middle && values[order[one]!]! <= values[order[other]!]!)
    ranks.push(order[first ? one++ : other++]!)
  }
  return ranks
}

interface Deflation {
  /** Ranks. */
  readonly kept: readonly number[]
  readonly deflated: readonly number[]
  /** By rank, as they are after the rotations. */
  readonly values: readonly number[]
  readonly weights: readonly number[]
  /** 0: zero in the lower block; 2: zero in the upper one; 1: neither. */
  readonly sides: readonly number[]
  readonly rotations: readonly {
    readonly one: number
    readonly other: number
    readonly c: number
    readonly s: number
  }[]
}

/** Which eigenpairs the rank-one correction leaves alone: those with no weight, and one of two that are too near (LAPACK's dlaed2). */
function deflate(work: Workspace, { middle }: Block, ranks: readonly number[], rho: number): Deflation {
  const upper = (index: number) => index < middle
  const sign = work.beside[middle - 1]! < 0 ? -Math.SQRT1_2 : Math.SQRT1_2
  const values = ranks.map((index) => work.values[index]!)
  const sides: number[] = ranks.map((index) => (upper(index) ? 0 : 2))
  const weights = ranks.map((index) =>
    upper(index) ? rowOf(work, index)[middle - 1]! * Math.SQRT1_2 : rowOf(work, index)[middle]! * sign,
  )
  const largest = (list: readonly number[]) => list.reduce((most, value) => Math.max(most, Math.abs(value)), 0)
  const least = 8 * EPSILON * Math.max(largest(values), largest(weights))
  const kept: number[] = []
  const deflated: number[] = []
  const rotations: { one: number; other: number; c: number; s: number }[] = []
  let held = -1
  for (const rank of values.keys()) {
    if (!(rho * Math.abs(weights[rank]!) > least)) deflated.push(rank)
    else {
      if (held >= 0) {
        const size = Math.sqrt(weights[held]! * weights[held]! + weights[rank]! * weights[rank]!)
        const [c, s] = [weights[rank]! / size, -weights[held]! / size]
        if (Math.abs((values[rank]! - values[held]!) * c * s) <= least) {
          const [low, high] = [values[held]!, values[rank]!]
          weights[rank] = size
          if (sides[rank] !== sides[held]) sides[rank] = 1
          rotations.push({ one: held, other: rank, c, s })
          values[held] = low * c * c + high * s * s
          values[rank] = low * s * s + high * c * c
          deflated.push(held)
        } else kept.push(held)
      }
      held = rank
    }
  }
  if (held >= 0) kept.push(held)
  return { kept, deflated, values, weights, sides, rotations }
}
