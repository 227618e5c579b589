/** Matrices in a team's memory, and their products. */
import type { Team } from './team.js'

export interface Matrix {
  /** Address of the first element. */
  readonly at: number
  readonly rows: number
  readonly columns: number
  /** Elements from one row, from one column, to the next. */
  readonly down: number
  readonly across: number
  /** float32, else float64. */
  readonly narrow: boolean
}

export const matrixAt = (at: number, rows: number, columns: number, narrow = false): Matrix => ({
  at,
  rows,
  columns,
  down: columns,
  across: 1,
  narrow,
})

export const allocateMatrix = (team: Team, rows: number, columns: number): Matrix =>
  matrixAt(team.allocate(rows * columns * 8), rows, columns)

export const transposed = ({ rows, columns, down, across, ...rest }: Matrix): Matrix => ({
  ...rest,
  rows: columns,
  columns: rows,
  down: across,
  across: down,
})

const sizeOf = ({ narrow }: Matrix): number => (narrow ? 4 : 8)

/** Rows from `row` on, columns from `column` on. */
export const part = (a: Matrix, row: number, column: number, rows: number, columns: number): Matrix => ({
  ...a,
  at: a.at + (row * a.down + column * a.across) * sizeOf(a),
  rows,
  columns,
})

/** A tile of a product; with its packed operands it stays in the second-level cache. */
const TILE_ROWS = 128
const TILE_COLUMNS = 256
/** Inner blocking: part of the result. */
const INNER = 256

export interface ProductOptions {
  /** Factor of the product: 1 unless told. */
  readonly scale?: number
  /** Add to what C holds. */
  readonly add?: boolean
  /** C is symmetric: only half of it is computed, and mirrored. */
  readonly symmetric?: boolean
}

/** C = A · B. Ends when all threads are done. */
export function product(
  team: Team,
  c: Matrix,
  a: Matrix,
  b: Matrix,
  { scale = 1, add = false, symmetric = false }: ProductOptions = {},
): void {
  const { kernels, scratch } = team
  const [m, n, k] = [a.rows, b.columns, a.columns]
  if (c.rows !== m || c.columns !== n || b.rows !== k) throw new Error('internal: a product of unlike matrices')
  const packedA = scratch
  const packedB = packedA + TILE_ROWS * INNER * 8
  const tile = packedB + TILE_COLUMNS * INNER * 8
  const acrossTiles = Math.ceil(n / TILE_COLUMNS)
  const stride = TILE_COLUMNS * 8
  const packed = (x: Matrix, first: number, count: number, inner: number, depth: number, c: number, to: number) => {
    const size = sizeOf(x)
    const from = x.at + (first * x.down + inner * x.across) * size
    if (x.down === 1 && count > 1) kernels.packAcross(from, x.across * size, count, depth, x.narrow, c, to)
    else kernels.pack(from, x.down * size, x.across * size, count, depth, x.narrow, c, to)
  }
  const bT = transposed(b)
  const cSize = sizeOf(c)
  team.each(Math.ceil(m / TILE_ROWS) * acrossTiles, (share) => {
    const i0 = Math.floor(share / acrossTiles) * TILE_ROWS
    const j0 = (share % acrossTiles) * TILE_COLUMNS
    const rows = Math.min(TILE_ROWS, m - i0)
    const columns = Math.min(TILE_COLUMNS, n - j0)
    if (symmetric && j0 >= i0 + rows) return
    const [m4, n4] = [Math.ceil(rows / 4) * 4, Math.ceil(columns / 4) * 4]
    const at = c.at + (i0 * c.down + j0 * c.across) * cSize
    const place = [tile, stride, at, c.down * cSize, c.across * cSize, rows, columns, c.narrow] as const
    team.f64(tile, (m4 * stride) / 8).fill(0)
    if (add) kernels.loadTile(...place)
    for (let p = 0; p < k; p += INNER) {
      const depth = Math.min(INNER, k - p)
      packed(a, i0, rows, p, depth, scale, packedA)
      packed(bT, j0, columns, p, depth, 1, packedB)
      kernels.product(packedA, packedB, tile, m4, n4, depth, stride)
    }
    if (symmetric) kernels.storeSymmetric(tile, stride, c.at, c.down * 8, i0, j0, rows, columns)
    else kernels.storeTile(...place)
  })
}

/** Elements a share where a matrix is gone through element by element. */
const SHARE = 1 << 15

/** Calls `work` on pieces of n elements. */
export const eachPiece = (team: Team, n: number, work: (from: number, to: number) => void): void =>
  team.each(Math.ceil(n / SHARE), (share) => work(share * SHARE, Math.min(n, (share + 1) * SHARE)))

/** Row i multiplied by factors[i]; the matrix is float64 and dense. */
export function scaleRows(team: Team, a: Matrix, factors: ArrayLike<number>): void {
  team.each(a.rows, (row) => team.kernels.scale(a.at + row * a.down * 8, factors[row]!, a.columns))
}
