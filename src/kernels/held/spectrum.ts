/** Helpers of the methods on singular vectors. */
import { eigen, eigenBytes } from '../dense/eigen.js'
import { allocateMatrix, eachPiece, type Matrix, matrixAt, product, scaleRows, transposed } from '../dense/matrix.js'
import type { Team } from '../dense/team.js'
import { type Fill, type HeldStep, type HeldWork, rooms } from './types.js'

/** Singular values up to this part of the largest count as 0: what a float64 Gram matrix can still tell. */
const RANK_TOLERANCE = 1e-6

export interface Sides {
  /** The shorter side, and the longer one. */
  readonly short: number
  readonly long: number
  /** Rows are the shorter side. */
  readonly wide: boolean
}

export const sidesOf = ({ rows, columns }: HeldWork): Sides => ({
  short: Math.min(rows, columns),
  long: Math.max(rows, columns),
  wide: rows < columns,
})

export const narrowOf = ({ compute }: HeldWork): boolean => compute === 'f32'
export const elementBytes = (work: HeldWork): number => (narrowOf(work) ? 4 : 8)

/** The matrix at an address with the longer side down: long × short. */
export function tall(work: HeldWork, at: number, narrow = narrowOf(work)): Matrix {
  const matrix = matrixAt(at, work.rows, work.columns, narrow)
  return work.rows < work.columns ? transposed(matrix) : matrix
}

/** How many of the falling singular values count. */
function rankOf(values: Float64Array): number {
  let rank = 0
  while (rank < values.length && values[rank]! > RANK_TOLERANCE * values[0]!) rank++
  return rank
}

export interface Triplets {
  /** All singular values that count, falling. */
  readonly values: Float64Array
  /** Of the first so many the vectors of the shorter side, in rows. */
  readonly vectors: Matrix
  /** Where the Gram matrix was: room that is free again. */
  readonly room: Matrix
}

/**
 * The first singular values of a tall matrix and their vectors of the shorter side, by its Gram matrix; `wanted` is given the
 * values that count. Undefined where an element is not a finite number. The vectors stay in the team's rooms.
 */
export function firstTriplets(team: Team, a: Matrix, wanted: (values: Float64Array) => number): Triplets | undefined {
  const gram = allocateMatrix(team, a.columns, a.columns)
  product(team, gram, transposed(a), a, { symmetric: true })
  return tripletsOf(team, gram, wanted)
}

/** The same of a Gram matrix, which is lost. */
export function tripletsOf(team: Team, gram: Matrix, wanted: (values: Float64Array) => number): Triplets | undefined {
  const elements = team.f64(gram.at, gram.rows * gram.columns)
  let trace = 0
  for (let i = 0; i < gram.rows; i++) trace += elements[i * gram.columns + i]!
  team.barrier()
  if (!Number.isFinite(trace)) return undefined
  const singular = (squares: Float64Array) => {
    const values = squares.map((square) => Math.sqrt(Math.max(0, square)))
    return values.subarray(0, rankOf(values))
  }
  const { values, vectors } = eigen(team, gram, (squares) => wanted(singular(squares)))
  return { values: singular(values), vectors, room: gram }
}

/** A^(−1/2) of a Gram matrix on its own range, in its place. */
export function inverseRoot(team: Team, gram: Matrix): void {
  const mark = team.mark()
  const triplets = tripletsOf(team, gram, (values) => values.length)
  if (!triplets) throw new Error('internal: singular vectors with NaN')
  const { values, vectors } = triplets
  scaleRows(
    team,
    vectors,
    values.map((value) => 1 / Math.sqrt(value)),
  )
  product(team, gram, transposed(vectors), vectors, { symmetric: true })
  team.release(mark)
}

/** The long side's vectors of triplets: rows (A v_i)/σ_i, written to `out`. */
export function otherSide(team: Team, a: Matrix, { values, vectors }: Triplets, out: Matrix): void {
  product(team, out, vectors, transposed(a))
  scaleRows(
    team,
    out,
    values.subarray(0, out.rows).map((value) => 1 / value),
  )
}

/** Fills the tensor at an address with one number. */
export function fillWith(team: Team, work: HeldWork, at: number, value: number): void {
  const n = work.rows * work.columns
  const all = narrowOf(work) ? team.f32(at, n) : team.f64(at, n)
  eachPiece(team, n, (from, to) => void all.fill(value, from, to))
}

/** The tensor in float64 at one address, in the compute type at another. */
export function writeTensor(team: Team, work: HeldWork, from: number, to: number): void {
  const n = work.rows * work.columns
  const values = team.f64(from, n)
  const out = narrowOf(work) ? team.f32(to, n) : team.f64(to, n)
  eachPiece(team, n, (first, end) => void out.set(values.subarray(first, end), first))
}

/** Fills a room with one δ_i. */
export const fillModel = (work: HeldWork, input: number, at: number): Fill => ({
  kind: 'fill',
  terms: [{ input, factor: 1 }],
  onBase: true,
  elements: work.rows * work.columns,
  at,
  narrow: narrowOf(work),
})

/** Fills a room with one δ_i after another, each followed by its stage from `first` on. */
export const eachModel = (work: HeldWork, at: number, first = 0): HeldStep[] =>
  work.weights.flatMap((_, input): HeldStep[] => [fillModel(work, input, at), { kind: 'solve', stage: first + input }])

/** Rooms of a sum in float64 and of one δ, and for so many bytes beside the work of `firstTriplets`. */
export function sumPlaces(work: HeldWork, more = 0): { sum: number; delta: number; own: number; total: number } {
  const { short, long } = sidesOf(work)
  const room = rooms()
  const sum = room.take(8 * short * long)
  const delta = room.take(short * long * elementBytes(work))
  const own = room.take(8 * short * short + eigenBytes(short) + more)
  return { sum, delta, own, total: room.total() }
}

/** All terms of Σ w_i δ_i. */
export const weighted = ({ weights }: HeldWork): { input: number; factor: number }[] =>
  weights.map((factor, input) => ({ input, factor })).filter(({ factor }) => factor !== 0)
