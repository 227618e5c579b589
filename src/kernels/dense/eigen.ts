import { type Eigen, solveTridiagonal } from './divide.js'
import type { Matrix } from './matrix.js'
import type { Team } from './team.js'
import { reflectBack, tridiagonalize } from './tridiagonal.js'

/** Bytes that `eigen` takes while it works, the matrix itself apart; of these n² numbers keep the vectors. */
export const eigenBytes = (n: number): number => 8 * (3 * n * n + 420 * n + 36000)

/**
 * Eigenvalues of a symmetric matrix, falling, and the vectors of so many of the largest as `wanted` says when it sees the
 * values, in rows. The matrix is dense and becomes something else.
 */
export function eigen(team: Team, a: Matrix, wanted: (values: Float64Array) => number): Eigen {
  const form = tridiagonalize(team, a)
  const solved = solveTridiagonal(team, form.diagonal, form.beside, wanted)
  reflectBack(team, form, solved.vectors)
  return solved
}
