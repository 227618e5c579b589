/** Positive definite systems: A = L Lᵀ in blocks, and their solution from the right. */
import { type Matrix, part, product, transposed } from './matrix.js'
import type { Team } from './team.js'

const BLOCK = 64
/** Rows per share of a triangular solution. */
const ROWS = 32

/**
 * The lower triangle L of A = L Lᵀ, in the place of A (dense, float64), whose upper triangle is left as it was. False where a
 * pivot is not positive.
 */
export function cholesky(team: Team, a: Matrix): boolean {
  const n = a.rows
  const all = team.f64(a.at, n * n)
  for (let p = 0; p < n; p += BLOCK) {
    const end = Math.min(n, p + BLOCK)
    team.once(() => {
      for (let i = p; i < end; i++)
        for (let j = p; j <= i; j++) {
          let rest = all[i * n + j]!
          for (let k = p; k < j; k++) rest -= all[i * n + k]! * all[j * n + k]!
          // An invalid pivot becomes NaN, which all threads see.
          all[i * n + j] = i === j ? (rest > 0 ? Math.sqrt(rest) : Number.NaN) : rest / all[j * n + j]!
        }
    })
    if (!Number.isFinite(all[(end - 1) * n + end - 1]!)) return false
    if (end === n) return true
    forward(team, a, part(a, end, p, n - end, end - p), p, end)
    const below = part(a, end, p, n - end, end - p)
    product(team, part(a, end, end, n - end, n - end), below, transposed(below), {
      scale: -1,
      add: true,
      symmetric: true,
    })
  }
  return true
}

/** Columns p to end of X Lᵀ = R, of the diagonal block alone: X in the place of R. */
function forward(team: Team, l: Matrix, r: Matrix, p: number, end: number): void {
  eachRow(team, l, r, (row, lower) => {
    for (let j = p; j < end; j++) {
      let rest = row[j - p]!
      for (let k = p; k < j; k++) rest -= row[k - p]! * lower[j * l.down + k]!
      row[j - p] = rest / lower[j * l.down + j]!
    }
  })
}

/** The same of X L = R. */
function backward(team: Team, l: Matrix, r: Matrix, p: number, end: number): void {
  eachRow(team, l, r, (row, lower) => {
    for (let j = end - 1; j >= p; j--) {
      let rest = row[j - p]!
      for (let k = j + 1; k < end; k++) rest -= row[k - p]! * lower[k * l.down + j]!
      row[j - p] = rest / lower[j * l.down + j]!
    }
  })
}

function eachRow(team: Team, l: Matrix, r: Matrix, work: (row: Float64Array, lower: Float64Array) => void): void {
  const lower = team.f64(l.at, l.rows * l.columns)
  team.each(Math.ceil(r.rows / ROWS), (share) => {
    for (let i = share * ROWS; i < Math.min(r.rows, (share + 1) * ROWS); i++)
      work(team.f64(r.at + 8 * i * r.down, r.columns), lower)
  })
}

/** R (L Lᵀ)⁻¹ in the place of R, dense and float64. */
export function solveRight(team: Team, l: Matrix, r: Matrix): void {
  const n = l.rows
  const columns = (from: number, to: number) => part(r, 0, from, r.rows, to - from)
  for (let p = 0; p < n; p += BLOCK) {
    const end = Math.min(n, p + BLOCK)
    if (p > 0)
      product(team, columns(p, end), columns(0, p), transposed(part(l, p, 0, end - p, p)), { scale: -1, add: true })
    forward(team, l, columns(p, end), p, end)
  }
  for (let p = Math.floor((n - 1) / BLOCK) * BLOCK; p >= 0; p -= BLOCK) {
    const end = Math.min(n, p + BLOCK)
    if (end < n)
      product(team, columns(p, end), columns(end, n), part(l, end, p, n - end, end - p), { scale: -1, add: true })
    backward(team, l, columns(p, end), p, end)
  }
}
