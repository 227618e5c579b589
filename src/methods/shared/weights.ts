import type { TensorSettings } from '../types.js'

/** Weights between 2^-64 and 2^64 are in the range of every arithmetic, and so are their sums. */
const RANGE = 64
const MOST_EXPONENT = 1000

/**
 * Weights for where only their ratios count: those of which the largest is out of range times a power of two, so that neither their
 * sum overflows (1e308 + 1e308) nor float32 makes 0 or infinity of them. All others as they are.
 */
export function ranged(weights: readonly number[]): readonly number[] {
  const most = weights.reduce((largest, weight) => Math.max(largest, Math.abs(weight)), 0)
  if (most === 0 || !Number.isFinite(most)) return weights
  const exponent = Math.floor(Math.log2(most))
  if (Math.abs(exponent) <= RANGE) return weights
  const by = 2 ** Math.max(-MOST_EXPONENT, Math.min(MOST_EXPONENT, -exponent))
  return weights.map((weight) => weight * by)
}

/** Σ of weights; of those out of range the sum of `ranged`. */
export const sumOf = (weights: readonly number[]): number =>
  ranged(weights).reduce((total, weight) => total + weight, 0)

/** Weights divided by their sum; a sum of 0 divides by 1. */
export function shares(weights: readonly number[]): number[] {
  const sum = sumOf(weights)
  return ranged(weights).map((weight) => weight / (sum === 0 ? 1 : sum))
}

/**
 * Shares by squared norms that may be beyond float64: then the models of infinite norm have it all, each as much. `sum` divides the
 * squares, which round as they are written.
 */
export function squaredShares(squares: readonly number[]): {
  squares: readonly number[]
  sum: number
  beyond: boolean
} {
  const sum = squares.reduce((total, square) => total + square, 0)
  if (sum !== Number.POSITIVE_INFINITY) return { squares, sum, beyond: false }
  const infinite = squares.some((square) => square === sum)
  // Finite ones whose sum overflows are halved often enough.
  if (!infinite) return squaredShares(squares.map((square) => square * 2 ** -12))
  const ones = squares.map((square) => (square === sum ? 1 : 0))
  return { squares: ones, sum: ones.filter((one) => one === 1).length, beyond: true }
}

/** Weights as they really are under a method's `normalize`: divided by their sum; a sum of 0 divides by 1. */
export function normalized({ weights, parameters }: Pick<TensorSettings, 'weights' | 'parameters'>): number[] {
  if (parameters.normalize !== true) return [...weights]
  return shares(weights)
}

/** λ and the factor of `lines`, which plans resolve to one number a tensor: what a merged task vector is multiplied by. */
export const scaleOf = ({ parameters: { lambda = 1, lines = 1 } }: Pick<TensorSettings, 'parameters'>): number =>
  Number(lambda) * Number(lines)
