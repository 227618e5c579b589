/**
 * Orthogonal polar factor by the dynamically weighted Halley iteration (QDWH: Nakatsukasa, Bai & Gygi, SIAM J. Matrix Anal. Appl.
 * 31, 2010), each step by a Cholesky factor: X ← (b/c) X + (a − b/c) X (I + c XᵀX)⁻¹. All work is products of matrices. The weights
 * follow from a lower bound of the singular values; where that is wrong, more steps follow.
 */
import { cholesky, solveRight } from './cholesky.js'
import { eachPiece, type Matrix, matrixAt, product, transposed } from './matrix.js'
import type { Team } from './team.js'

/** Bytes that the iteration takes: X, a Gram matrix, and the solution of a system. */
export const polarBytes = (n: number): number => 3 * 8 * n * n + 4096

/** Singular values are taken to be at least this part of the norm. */
const LEAST = 1e-6
const STEPS = 14
/** Squared distance of XᵀX from I, a row, at which X counts as orthogonal. */
const NEAR = 1e-24
/** Of a singular matrix, how much of the identity then decides among its polar factors, relative to the norm. */
const SHIFT = 1e-7

/** Real cube root by Newton's iteration: the same bits on every engine. */
function cubeRoot(x: number): number {
  if (x === 0) return 0
  let root = Math.max(1, x)
  for (let next = 0; ; root = next) {
    next = (2 * root + x / (root * root)) / 3
    if (!(next < root)) return root
  }
}

/** The weights of a step for singular values in [l, 1]. */
function weightsOf(l: number): { a: number; b: number; c: number; next: number } {
  const squared = l * l
  const d = cubeRoot((4 * (1 - squared)) / (squared * squared))
  const root = Math.sqrt(1 + d)
  const a = root + Math.sqrt(Math.max(0, 8 - 4 * d + (8 * (2 - squared)) / (squared * root))) / 2
  const b = ((a - 1) * (a - 1)) / 4
  const c = a + b - 1
  return { a, b, c, next: Math.min(1, (l * (a + b * squared)) / (1 + c * squared)) }
}

/**
 * The polar factor in the place of the square matrix at `at` (dense, float64): the R that maximises tr(RᵀA). Of a singular matrix
 * one of several. A matrix with an element that is not a finite number becomes NaN throughout.
 */
export function polarFactor(team: Team, at: number, n: number): void {
  const x = matrixAt(at, n, n)
  const values = team.f64(at, n * n)
  const mark = team.mark()
  const gram = matrixAt(team.allocate(8 * n * n), n, n)
  const solved = matrixAt(team.allocate(8 * n * n), n, n)
  scaleBy(team, x, inverseNorm(values))
  team.barrier()
  for (let shift = 0; shift < 8; shift++) {
    if (iterate(team, x, gram, solved)) break
    // Directions that the matrix says nothing of have stayed where they were: at nothing.
    team.once(() => {
      for (let i = 0; i < n; i++) values[i * n + i]! += SHIFT
    })
    scaleBy(team, x, inverseNorm(values))
    team.barrier()
  }
  team.release(mark)
}

/** Everybody works out the same. Not a number where an element is none; of nothing at all 1. */
function inverseNorm(values: Float64Array): number {
  let sum = 0
  for (const value of values) sum += value * value
  return sum > 0 ? 1 / Math.sqrt(sum) : sum === 0 ? 1 : Number.NaN
}

function scaleBy(team: Team, x: Matrix, factor: number): void {
  // Nobody scales before all have taken the norm.
  team.barrier()
  eachPiece(team, x.rows * x.columns, (from, to) => team.kernels.scale(x.at + 8 * from, factor, to - from))
}

/** True once X is orthogonal, or is no matrix of numbers. */
function iterate(team: Team, x: Matrix, gram: Matrix, solved: Matrix): boolean {
  const n = x.rows
  const [values, products, solution] = [x, gram, solved].map(({ at }) => team.f64(at, n * n)) as [
    Float64Array,
    Float64Array,
    Float64Array,
  ]
  for (let step = 0, l = LEAST; step < STEPS; step++) {
    product(team, gram, transposed(x), x, { symmetric: true })
    const distance = distanceFromOne(products, n)
    if (!Number.isFinite(distance) || distance <= NEAR * n) return true
    const { a, b, c, next } = weightsOf(l)
    l = next
    team.barrier()
    eachPiece(team, n * n, (from, to) => {
      for (let i = from; i < to; i++) products[i] = c * products[i]! + (i % (n + 1) === 0 ? 1 : 0)
      solution.set(values.subarray(from, to), from)
    })
    if (!cholesky(team, gram)) return false
    solveRight(team, gram, solved)
    eachPiece(team, n * n, (from, to) => {
      for (let i = from; i < to; i++) values[i] = (b / c) * values[i]! + (a - b / c) * solution[i]!
    })
  }
  return false
}

/** ‖G − I‖², worked out by everybody alike. */
function distanceFromOne(g: Float64Array, n: number): number {
  let sum = 0
  for (let i = 0; i < g.length; i++) sum += (g[i]! - (i % (n + 1) === 0 ? 1 : 0)) ** 2
  return sum
}
