/**
 * Orthonormal bases of what low-rank changes s_i·B_i·A_i of one weight span together, and each change in them.
 *
 *   Q_B, Q_A: orthonormal rows of [B_1 … B_n]ᵀ and of [A_1; …; A_n];  C_i = s_i (Q_B B_i)(A_i Q_Aᵀ)
 *
 * Q_B and Q_A depend on how each change is factored. The singular vectors of [ΔW_1 … ΔW_n] and of [ΔW_1; …; ΔW_n] do not:
 * Q_B and Q_A are turned to those by the eigenvectors of Σ C_iC_iᵀ and Σ C_iᵀC_i. See `canonical.ts` for equal singular values.
 */
import { eigen, eigenBytes } from '../../dense/eigen.js'
import { allocateMatrix, type Matrix, matrixAt, part, product, transposed } from '../../dense/matrix.js'
import type { Team } from '../../dense/team.js'
import { orthonormalize, orthonormalizeBytes } from '../orthonormal.js'
import type { Fill, HeldWork, rooms } from '../types.js'
import { canonical } from './canonical.js'

/** Singular values up to this part of the largest count as 0: they are rounding errors of the squares. */
const TOLERANCE = 1e-7

export interface LowRankSizes {
  readonly rows: number
  readonly columns: number
  readonly ranks: readonly number[]
  /** Of all changes together. */
  readonly rank: number
  /** The sizes of the core: at most the rank, and not more than the weight has. */
  readonly left: number
  readonly right: number
}

export function sizesOf({ rows, columns, options }: HeldWork): LowRankSizes {
  const ranks = options.ranks as readonly number[]
  const rank = ranks.reduce((sum, one) => sum + one, 0)
  return { rows, columns, ranks, rank, left: Math.min(rank, rows), right: Math.min(rank, columns) }
}

type Room = ReturnType<typeof rooms>

/** Where factors and bases are. A is [rank, columns]; B has one block [rows, rank_i] per change. */
export function basePlaces(work: HeldWork, room: Room) {
  const { rows, columns, rank, ranks, left, right } = sizesOf(work)
  return {
    a: room.take(8 * rank * columns),
    b: room.take(8 * rank * rows),
    /** Orthonormal rows, and where the turned ones are copied from. */
    across: room.take(8 * rank * columns),
    down: room.take(8 * rank * rows),
    inA: room.take(8 * rank * rank),
    inB: room.take(8 * rank * rank),
    raw: room.take(8 * left * right * ranks.length),
    cores: ranks.map(() => room.take(8 * left * right)),
    zero: room.take(8 * left * right),
  }
}

type Places = ReturnType<typeof basePlaces>

export const baseBytes = (work: HeldWork): number => {
  const { rows, columns, rank, left, right } = sizesOf(work)
  const side = Math.max(left, right)
  const turns = 2 * (8 * side * side + eigenBytes(side)) + 8 * side * side
  return Math.max(orthonormalizeBytes(rank, Math.max(rows, columns)), turns) + 4096
}

/** Inputs are A and B of each change in turn. */
export function fillFactors(work: HeldWork, { a, b }: Pick<Places, 'a' | 'b'>): Fill[] {
  const { rows, columns, ranks } = sizesOf(work)
  let before = 0
  return ranks.flatMap((rank, index) => {
    const fill = (input: number, elements: number, at: number): Fill => ({
      kind: 'fill',
      terms: [{ input, factor: 1 }],
      onBase: false,
      elements,
      at,
      narrow: false,
    })
    const fills = [
      fill(2 * index, rank * columns, a + 8 * before * columns),
      fill(2 * index + 1, rank * rows, b + 8 * before * rows),
    ]
    before += rank
    return fills
  })
}

/** Approximate multiplications and additions. */
export const baseOperations = (work: HeldWork): number => {
  const { rows, columns, rank, left, right } = sizesOf(work)
  return rank * rank * 4 * (rows + columns) + 9 * (left ** 3 + right ** 3)
}

const blockOf = (work: HeldWork, b: number, index: number): Matrix => {
  const { rows, ranks } = sizesOf(work)
  const before = ranks.slice(0, index).reduce((sum, one) => sum + one, 0)
  return matrixAt(b + 8 * before * rows, rows, ranks[index]!)
}

/**
 * Fills cores [left, right] and bases in rows: `down` [left, rows] and `across` [right, columns]. Directions that no change
 * needs are 0. If an element of a factor is not finite, all cores are NaN.
 */
export function makeBases(team: Team, work: HeldWork, places: Places, origin: number): void {
  const { rows, columns, rank, ranks, left, right } = sizesOf(work)
  const at = Object.fromEntries(
    Object.entries(places).map(([name, place]) => [name, typeof place === 'number' ? origin + place : 0]),
  ) as Record<keyof Places, number>
  const cores = places.cores.map((place) => matrixAt(origin + place, left, right))
  const a = matrixAt(at.a, rank, columns)
  team.each(rank, (row) => {
    team.f64(at.across + 8 * row * columns, columns).set(team.f64(at.a + 8 * row * columns, columns))
  })
  let before = 0
  for (const [index, own] of ranks.entries()) {
    const block = team.f64(blockOf(work, at.b, index).at, rows * own)
    const first = before
    team.each(own, (k) => {
      const row = team.f64(at.down + 8 * (first + k) * rows, rows)
      for (let i = 0; i < rows; i++) row[i] = block[i * own + k]!
    })
    before += own
  }
  const finite = allFinite(team, at.a, rank * columns) && allFinite(team, at.b, rank * rows)
  team.barrier()
  team.once(() => {
    for (const core of cores) team.f64(core.at, left * right).fill(finite ? 0 : Number.NaN)
    team.f64(at.zero, left * right).fill(0)
  })
  if (!finite) return
  const across = matrixAt(at.across, orthonormalize(team, matrixAt(at.across, rank, columns)), columns)
  const down = matrixAt(at.down, orthonormalize(team, matrixAt(at.down, rank, rows)), rows)
  if (across.rows === 0 || down.rows === 0) {
    team.once(() => {
      team.f64(at.down, left * rows).fill(0)
      team.f64(at.across, right * columns).fill(0)
    })
    return
  }
  const raw = ranks.map((_, index) => matrixAt(at.raw + 8 * index * left * right, down.rows, across.rows))
  const inA = matrixAt(at.inA, rank, across.rows)
  product(team, inA, a, transposed(across))
  before = 0
  for (const [index, own] of ranks.entries()) {
    const inB = matrixAt(at.inB, down.rows, own)
    product(team, inB, down, blockOf(work, at.b, index))
    product(team, raw[index]!, inB, part(inA, before, 0, own, across.rows), { scale: work.weights[index]! })
    before += own
  }
  // The factors are no longer needed: their rooms take the turned bases.
  const mark = team.mark()
  const leftTurn = turn(team, raw, down, matrixAt(at.b, left, rows))
  const rightTurn = turn(team, raw.map(transposed), across, matrixAt(at.a, right, columns))
  for (const [index, core] of cores.entries()) {
    const half = allocateMatrix(team, leftTurn.rows, across.rows)
    product(team, half, leftTurn, raw[index]!)
    product(team, part(core, 0, 0, leftTurn.rows, rightTurn.rows), half, transposed(rightTurn))
  }
  team.release(mark)
}

function allFinite(team: Team, at: number, n: number): boolean {
  const values = team.f64(at, n)
  for (let i = 0; i < n; i++) if (!Number.isFinite(values[i]!)) return false
  return true
}

/**
 * The eigenvectors of Σ C_iC_iᵀ in rows, and `out`: the same vectors in the weight's own coordinates, and zeros after them.
 * The eigenvectors stay in the team's rooms.
 */
function turn(team: Team, raw: readonly Matrix[], basis: Matrix, out: Matrix): Matrix {
  const side = basis.rows
  const gram = allocateMatrix(team, side, side)
  for (const [index, core] of raw.entries())
    product(team, gram, core, transposed(core), { symmetric: true, add: index > 0 })
  let count = 0
  const { vectors, values } = eigen(team, gram, (squares) => {
    const most = squares[0] ?? 0
    count = squares.filter((square) => square > 0 && square > TOLERANCE * TOLERANCE * most).length
    return count
  })
  const turned = matrixAt(vectors.at, count, side)
  const own = matrixAt(out.at, count, out.columns)
  if (count > 0) product(team, own, turned, basis)
  team.once(() => {
    team.f64(out.at, out.rows * out.columns).fill(0, count * out.columns)
    canonical(
      Array.from({ length: count }, (_, row) => Math.sqrt(values[row]!)),
      (row) => team.f64(own.at + 8 * row * own.columns, own.columns),
      (row) => team.f64(turned.at + 8 * row * side, side),
    )
  })
  return turned
}
