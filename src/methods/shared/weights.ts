import type { TensorSettings } from '../types.js'

/** Weights between 2^-64 and 2^64 and their sums are safe in float32 and float64. */
const RANGE = 64
const MOST_EXPONENT = 1000

/**
 * Scales weights by a power of two if the largest is outside the safe range and only ratios matter. Then their sum does
 * not overflow (1e308 + 1e308), and float32 does not round them to 0 or infinity. All other weights are unchanged.
 */
export function ranged(weights: readonly number[]): readonly number[] {
  const most = weights.reduce((largest, weight) => Math.max(largest, Math.abs(weight)), 0)
  if (most === 0 || !Number.isFinite(most)) return weights
  const exponent = Math.floor(Math.log2(most))
  if (Math.abs(exponent) <= RANGE) return weights
  const by = 2 ** Math.max(-MOST_EXPONENT, Math.min(MOST_EXPONENT, -exponent))
  return weights.map((weight) => weight * by)
}

/** The sum of weights, scaled as in `ranged`. */
export const sumOf = (weights: readonly number[]): number =>
  ranged(weights).reduce((total, weight) => total + weight, 0)

/** Weights divided by their sum; a sum of 0 divides by 1. */
export function shares(weights: readonly number[]): number[] {
  const sum = sumOf(weights)
  return ranged(weights).map((weight) => weight / (sum === 0 ? 1 : sum))
}

/**
 * Shares by squared norms. If a norm overflows float64, the models with infinite norms share everything equally. `sum`
 * divides the squares; it is separate so that callers control the rounding.
 */
export function squaredShares(squares: readonly number[]): {
  squares: readonly number[]
  sum: number
  beyond: boolean
} {
  const sum = squares.reduce((total, square) => total + square, 0)
  if (sum !== Number.POSITIVE_INFINITY) return { squares, sum, beyond: false }
  const infinite = squares.some((square) => square === sum)
  // If only the sum overflows, the squares are scaled down.
  if (!infinite) return squaredShares(squares.map((square) => square * 2 ** -12))
  const ones = squares.map((square) => (square === sum ? 1 : 0))
  return { squares: ones, sum: ones.filter((one) => one === 1).length, beyond: true }
}

/** The effective weights with `normalize`: divided by their sum; a sum of 0 divides by 1. */
export function normalized({ weights, parameters }: Pick<TensorSettings, 'weights' | 'parameters'>): number[] {
  if (parameters.normalize !== true) return [...weights]
  return shares(weights)
}

/** The factor of a merged task vector: λ times the factor of `lines`, which plans resolve to one number per tensor. */
export const scaleOf = ({ parameters: { lambda = 1, lines = 1 } }: Pick<TensorSettings, 'parameters'>): number =>
  Number(lambda) * Number(lines)
