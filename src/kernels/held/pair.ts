/** Singular triplets as the two factors of a low-rank matrix. */
import { eachPiece, type Matrix, scaleRows } from '../dense/matrix.js'
import type { Team } from '../dense/team.js'

/** ‖δ‖², triplets found, Σ σ² of them, and the rank that `energy` and `above` choose. */
export const FIGURES = 4

/** Where the factors go, and how. Addresses are absolute. */
export interface Pair {
  readonly rank: number
  /** The scale that the adapter's reader will apply. */
  readonly scale: number
  /** The matrix is stored as [in, out]. */
  readonly turned: boolean
  readonly narrow: boolean
  /** Share of ‖δ‖² that the first triplets should reach. */
  readonly energy?: number | undefined
  /** Singular values up to this one are cut. */
  readonly above?: number | undefined
  readonly figures: number
  readonly b: number
  readonly a: number
}

/** Triplets as B and A: vectors of the tensor's rows and columns, a row each, of length 1. */
export function writePair(
  team: Team,
  { rank, scale, turned, narrow, energy, above, figures, b, a }: Pair,
  values: Float64Array,
  down: Matrix,
  across: Matrix,
): void {
  const count = down.rows
  const [left, right] = turned ? [across, down] : [down, across]
  const rowOf = (matrix: Matrix, row: number) => team.f64(matrix.at + 8 * row * matrix.columns, matrix.columns)
  const factorsOf = (sign: boolean) =>
    Float64Array.from({ length: count }, (_, k) => {
      const root = Math.sqrt(values[k]! / scale)
      return sign && leading(rowOf(left, k)) < 0 ? -root : root
    })
  const signed = factorsOf(true)
  team.barrier()
  scaleRows(team, left, signed)
  scaleRows(team, right, signed)
  const all = (at: number, n: number) => (narrow ? team.f32(at, n) : team.f64(at, n))
  const [toB, toA] = [all(b, left.columns * rank), all(a, rank * right.columns)]
  eachPiece(team, left.columns, (from, end) => {
    for (let i = from; i < end; i++)
      for (let k = 0; k < rank; k++) toB[i * rank + k] = k < count ? rowOf(left, k)[i]! : 0
  })
  team.each(rank, (k) => {
    const row = toA.subarray(k * right.columns, (k + 1) * right.columns)
    if (k < count) row.set(rowOf(right, k))
    else row.fill(0)
  })
  team.once(() => {
    const found = team.f64(figures, FIGURES)
    found[1] = count
    const own = values.subarray(0, count)
    found[2] = own.reduce((sum, value) => sum + value * value, 0)
    const reach = energy === undefined ? count : enough(own, energy * found[0]!)
    const large = above === undefined ? count : own.filter((value) => value > above).length
    if (energy !== undefined || above !== undefined) found[3] = Math.min(reach, large)
  })
}

/** How many of the falling values have squares that add up to `wanted`. All of them if they do not. */
function enough(values: Float64Array, wanted: number): number {
  let [count, sum] = [0, 0]
  while (count < values.length && sum < wanted) sum += values[count++]! ** 2
  return count
}

/** The element that is largest in magnitude, the first of equal ones. */
function leading(values: Float64Array): number {
  let most = 0
  for (const value of values) if (Math.abs(value) > Math.abs(most)) most = value
  return most
}
