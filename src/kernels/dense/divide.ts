/**
 * Eigenvectors of a symmetric tridiagonal matrix by divide and conquer (Cuppen 1981, Gu and Eisenstat 1995): the matrix is
 * torn in two, and the halves' eigenvectors are joined by a rank-one correction. Vectors lie in rows.
 */
import { allocateMatrix, type Matrix, matrixAt, part, product } from './matrix.js'
import { small } from './small.js'
import type { Team } from './team.js'

const EPSILON = 2 ** -53
/** Up to this size a matrix is done at once, by one thread. */
const LEAST = 32

export interface Eigen {
  /** Falling. */
  readonly values: Float64Array
  /** A row each, in the order of values; only those that were wanted. */
  readonly vectors: Matrix
}

/**
 * `wanted`: how many of the largest values (falling) want vectors. Room: 3n² numbers are taken while it works, of which the
 * vectors keep the last n².
 */
export function solveTridiagonal(
  team: Team,
  diagonal: Float64Array,
  beside: Float64Array,
  wanted: (values: Float64Array) => number,
): Eigen {
  const n = diagonal.length
  const { kernels } = team
  const values = team.f64(team.allocate(8 * n), n)
  const spare = allocateMatrix(team, n, n)
  const mark = team.mark()
  const vectors = allocateMatrix(team, n, n)
  const gathered = team.allocate(8 * n * n)
  const z = team.f64(team.allocate(8 * n), n)
  const z2 = team.f64(team.allocate(8 * n), n)
  const poles = team.f64(team.allocate(8 * n), n)
  const found = team.f64(team.allocate(8 * n), n)
  const places = team.i32(team.allocate(4 * n), n)
  /** By rank in its block, rising: the row that the block's eigenvector lies in. */
  const order = team.i32(team.allocate(4 * n), n)
  const rowAt = (row: number) => vectors.at + row * n * 8
  const row = (index: number) => team.f64(rowAt(index), n)

  // Tear: both diagonal elements beside a cut lose the element that is cut.
  const blocks: { from: number; size: number }[][] = [[{ from: 0, size: n }]]
  while (blocks.at(-1)!.some(({ size }) => size > LEAST))
    blocks.push(
      blocks.at(-1)!.flatMap(({ from, size }) => {
        const half = size >> 1
        return [
          { from, size: half },
          { from: from + half, size: size - half },
        ]
      }),
    )
  const leaves = blocks.at(-1)!
  team.once(() => {
    values.set(diagonal)
    for (const { from } of leaves) {
      if (from === 0) continue
      const cut = Math.abs(beside[from - 1]!)
      values[from - 1]! -= cut
      values[from]! -= cut
    }
  })
  team.each(n, (index) => void row(index).fill(0))
  team.each(leaves.length, (share) => {
    const { from, size } = leaves[share]!
    const solved = small(values.subarray(from, from + size), beside.subarray(from, from + size - 1))
    for (let i = 0; i < size; i++) {
      values[from + i] = solved.values[i]!
      order[from + i] = from + i
      row(from + i).set(solved.vectors.subarray(i * size, (i + 1) * size), from)
    }
  })
  for (let level = blocks.length - 2; level >= 0; level--)
    for (const { from, size } of blocks[level]!) join(from, size, level === 0)

  /** Two blocks to one. */
  function join(from: number, size: number, whole: boolean): void {
    const middle = from + (size >> 1)
    const end = from + size
    const beyond = beside[middle - 1]!
    const rho = 2 * Math.abs(beyond)
    // Everybody works out the same; what is shared is written by one.
    const ranks = mergedRanks(order, values, from, middle, end)
    const sides = ranks.map((index) => (index < middle ? 0 : 2))
    const weights = ranks.map((index) =>
      index < middle
        ? row(index)[middle - 1]! * Math.SQRT1_2
        : row(index)[middle]! * (beyond < 0 ? -Math.SQRT1_2 : Math.SQRT1_2),
    )
    const plan = deflate(
      ranks.map((index) => values[index]!),
      weights,
      sides,
      rho,
    )
    const kept = plan.kept.map((rank) => ({ index: ranks[rank]!, side: plan.sides[rank]! }))
    const deflated = plan.deflated.map((rank) => ranks[rank]!)
    const k = kept.length
    team.barrier()
    team.once(() => {
      for (const { one, other, c, s } of plan.rotations)
        kernels.rotate(rowAt(ranks[one]!) + 8 * from, rowAt(ranks[other]!) + 8 * from, c, s, size)
      for (const [rank, index] of ranks.entries()) values[index] = plan.values[rank]!
      for (const [i, rank] of plan.kept.entries()) {
        poles[i] = plan.values[rank]!
        z[i] = plan.weights[rank]!
        z2[i] = z[i]! * z[i]!
      }
    })
    const gaps = spare.at
    let norm2 = 0
    for (let i = 0; i < k; i++) norm2 += z2[i]!
    team.each(k, (j) => {
      found[j] = kernels.secularRoot(k, poles.byteOffset, z2.byteOffset, rho, norm2, j, gaps + j * k * 8)
    })
    // Weights for which the roots that were found are exact: so vectors are orthogonal however near the roots.
    team.each(Math.ceil(k / 128), (share) => {
      const [first, last] = [share * 128, Math.min(k, share * 128 + 128)]
      z2.fill(1, first, last)
      kernels.weights(k, poles.byteOffset, gaps, k * 8, first, last, z2.byteOffset)
      for (let i = first; i < last; i++) z[i] = Math.sqrt(Math.abs(z2[i]!)) * (z[i]! < 0 ? -1 : 1)
    })
    // Rows of the upper block, of both, of the lower block: two products without the zeros between.
    const sequence = [0, 1, 2].flatMap((side) => kept.flatMap((entry, i) => (entry.side === side ? [i] : [])))
    const above = kept.filter(({ side }) => side === 0).length
    const top = matrixAt(gathered, kept.filter(({ side }) => side < 2).length, middle - from)
    const bottom = matrixAt(gathered + 8 * top.rows * top.columns, k - above, end - middle)
    team.each(k, (at) => {
      const i = sequence[at]!
      const old = row(kept[i]!.index)
      if (at < top.rows) team.f64(top.at + at * top.columns * 8, top.columns).set(old.subarray(from, middle))
      if (at >= above)
        team.f64(bottom.at + (at - above) * bottom.columns * 8, bottom.columns).set(old.subarray(middle, end))
      places[i] = at
    })
    // New vectors go to the first k rows of the block, deflated ones behind them: from the last on, none meets another.
    const moved = [...deflated].sort((a, b) => b - a)
    const settled = [...found.subarray(0, k), ...moved.map((index) => values[index]!).reverse()]
    const rising = [...settled.keys()].sort((a, b) => settled[a]! - settled[b]! || a - b)
    let first = 0
    if (whole) {
      const count = wanted(Float64Array.from(rising, (at) => settled[at]!).reverse())
      const chosen = new Set(rising.slice(n - count))
      while (first < k && !chosen.has(first)) first++
    }
    team.barrier()
    team.once(() => {
      for (const [t, index] of moved.entries()) if (index !== end - 1 - t) row(end - 1 - t).set(row(index))
      for (const [at, value] of settled.entries()) values[from + at] = value
      for (const [rank, at] of rising.entries()) order[from + rank] = from + at
    })
    const factors = matrixAt(gaps, k, k)
    team.each(k - first, (share) => {
      const at = gaps + (first + share) * k * 8
      kernels.secularVector(k, z.byteOffset, at, places.byteOffset, team.scratch)
      team.f64(at, k).set(team.f64(team.scratch, k))
    })
    const count = k - first
    const target = part(vectors, from + first, from, count, size)
    product(team, part(target, 0, 0, count, middle - from), part(factors, first, 0, count, top.rows), top)
    product(
      team,
      part(target, 0, middle - from, count, end - middle),
      part(factors, first, above, count, bottom.rows),
      bottom,
    )
  }

  const falling = Float64Array.from(order, (index) => values[index]!).reverse()
  const count = wanted(falling)
  team.each(count, (rank) => {
    team.f64(spare.at + rank * n * 8, n).set(row(order[n - 1 - rank]!))
  })
  team.release(mark)
  return { values: falling, vectors: part(spare, 0, 0, count, n) }
}

/** Rows of two blocks by rising value; of equal ones those of the first block come first. */
function mergedRanks(
  order: Int32Array,
  values: Float64Array,
  from: number,
  middle: number,
  end: number,
): readonly number[] {
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
function deflate(
  given: readonly number[],
  givenWeights: readonly number[],
  givenSides: readonly number[],
  rho: number,
): Deflation {
  const [values, weights, sides] = [[...given], [...givenWeights], [...givenSides]]
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
