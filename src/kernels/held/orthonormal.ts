/**
 * Orthonormal rows by Gram and Schmidt, every row cleared of those before it twice, which is enough (Giraud, Langou, Rozložník
 * 2005). Sums are over pieces of a fixed size in a fixed order, so that threads do not show.
 */
import type { Matrix } from '../dense/matrix.js'
import type { Team } from '../dense/team.js'

/** Elements of a row that one share is about. */
const PIECE = 4096
/** What is left of a row, as a part of what it was, below which it lies in the span of those before it. */
const NOTHING = 1e-12

const piecesOf = (columns: number): number => Math.ceil(columns / PIECE)

/** Bytes of the team's rooms that it takes. */
export const orthonormalizeBytes = (rows: number, columns: number): number => 8 * rows * (piecesOf(columns) + 1) + 128

/** Makes the rows of a dense float64 matrix orthonormal in their place, without those that depend on earlier ones; how many there are. */
export function orthonormalize(team: Team, { at, rows, columns }: Matrix): number {
  const { kernels } = team
  const pieces = piecesOf(columns)
  const mark = team.mark()
  const partial = team.allocate(8 * pieces * rows)
  const sums = team.allocate(8 * rows)
  const stride = 8 * columns
  const rowAt = (row: number) => at + row * stride
  const lengthOf = (piece: number) => Math.min(PIECE, columns - piece * PIECE)
  let kept = 0

  /** Dots of a row with `count` rows from `first` on, to `sums`. */
  function dots(row: number, first: number, count: number): void {
    team.each(pieces, (piece) => {
      const offset = 8 * piece * PIECE
      const out = partial + 8 * piece * rows
      kernels.rowsDot(rowAt(first) + offset, stride, count, lengthOf(piece), rowAt(row) + offset, out)
    })
    const parts = team.f64(partial, pieces * rows)
    team.once(() => {
      const out = team.f64(sums, count)
      for (let i = 0; i < count; i++) {
        let sum = 0
        for (let piece = 0; piece < pieces; piece++) sum += parts[piece * rows + i]!
        out[i] = sum
      }
    })
  }

  /** The square of a row's length. */
  function square(row: number): number {
    dots(row, row, 1)
    return team.f64(sums, 1)[0]!
  }

  for (let row = 0; row < rows; row++) {
    // To the place behind the kept ones, which is free.
    if (row !== kept)
      team.each(pieces, (piece) => {
        const offset = 8 * piece * PIECE
        team.f64(rowAt(kept) + offset, lengthOf(piece)).set(team.f64(rowAt(row) + offset, lengthOf(piece)))
      })
    const before = square(kept)
    for (let round = 0; round < 2 && kept > 0; round++) {
      dots(kept, 0, kept)
      team.each(pieces, (piece) => {
        const offset = 8 * piece * PIECE
        kernels.rowsSum(rowAt(kept) + offset, at + offset, stride, kept, lengthOf(piece), sums, 8, -1)
      })
    }
    const after = square(kept)
    if (!(after > NOTHING * NOTHING * before) || !(after > 0)) continue
    team.each(pieces, (piece) => kernels.scale(rowAt(kept) + 8 * piece * PIECE, 1 / Math.sqrt(after), lengthOf(piece)))
    kept++
  }
  team.release(mark)
  return kept
}
