/** Averages: linear, passthrough, median, geometric_median. */
import {
  add,
  decoded,
  type Given,
  linear,
  option,
  rounding,
  sum,
  type Tensor,
  task,
  weightsOf,
  zeros,
} from './numeric.js'

/**
 * linear: Σ w_i x_i, divided by Σ w_i if normalize. Coefficients w_i/Σw in float64, rounded once; added in recipe order.
 * A sum of weights of 0 has no meaning under normalize. Source: arXiv 2203.05482 (model soups).
 */
export function linearAverage(given: Given): Tensor {
  const weights = weightsOf(given)
  const divisor = option(given, 'normalize', true) ? divisorOf(weights) : 1
  return linear(
    given,
    weights.map((w) => w / divisor),
  )
}

/** passthrough: scale·x of the one model. */
export const passthrough = (given: Given): Tensor => linear(given, [option(given, 'scale', 1)])

/** median: elementwise; of an even number half the sum of the middle two. NaN in any model gives NaN. */
export function median(given: Given): Tensor {
  const round = rounding(given.compute)
  const inputs = decoded(given)
  return zeros(given.compute, inputs[0]!.length).map((_, i) => {
    const values = inputs.map((x) => x[i]!)
    if (values.some(Number.isNaN)) return Number.NaN
    values.sort((a, b) => a - b)
    const middle = values.length >> 1
    return values.length % 2 === 1 ? values[middle]! : round(round(values[middle - 1]! + values[middle]!) * 0.5)
  }) as Tensor
}

/** Distances under this part of the spread count as it: a point that coincides with a model has a weight still. */
const COINCIDENT = 1e-12

/**
 * geometric_median: the y that minimises Σ w_i ‖x_i − y‖, by Weiszfeld's iteration on the whole tensor.
 *
 * y = x_1 + Σ a_i (x_i − x_1), so only the dot products g_ij of x_i − x_1 are needed (one pass), and
 * ‖x_i − y‖² = (e_i − a)ᵀ G (e_i − a). Start: the weighted mean. Step: a_i ← (w_i/d_i) / Σ (w_k/d_k), d_i the distances,
 * floored at 1e-12 of the largest distance from the start. Stop after max_iter steps, or where a step is at most tol times
 * Σ w_i / Σ (w_i/d_i), the weighted harmonic mean of the distances (a measure that scales with the input and that an outlier
 * does not loosen). Of equal models the result is the first, exactly. Source: Weiszfeld 1937; for models arXiv 1912.13445.
 */
export function geometricMedian(given: Given): Tensor {
  const inputs = decoded(given)
  const weights = weightsOf(given)
  const [first] = inputs as [Tensor]
  const gram = differenceGram(given)
  const quadratic = (v: readonly number[]) =>
    Math.sqrt(Math.max(0, add(v.map((left, i) => add(v.map((right, j) => left * gram[i]![j]! * right))))))
  const distances = (a: readonly number[]) => a.map((_, i) => quadratic(a.map((x, j) => (i === j ? 1 : 0) - x)))
  let a = weights.map((w) => w / divisorOf(weights))
  const spread = Math.max(...distances(a))
  for (let step = 0; step < option(given, 'max_iter', 100) && spread > 0; step++) {
    const pulls = distances(a).map((d, i) => weights[i]! / Math.max(d, COINCIDENT * spread))
    const next = pulls.map((pull) => pull / divisorOf(pulls))
    const moved = quadratic(next.map((x, i) => x - a[i]!))
    a = next
    if (moved <= (option(given, 'tol', 1e-8) * divisorOf(weights)) / divisorOf(pulls)) break
  }
  return task({ ...given, inputs: inputs.slice(1), base: first }, a.slice(1))
}

/** Dot products of the differences from the first model, differences rounded to the compute type. */
function differenceGram(given: Given): number[][] {
  const round = rounding(given.compute)
  const inputs = decoded(given)
  const differences = inputs.map((x) => x.map((value, i) => round(value - inputs[0]![i]!)) as Tensor)
  return differences.map((x) => differences.map((y) => sum(x.length, (i) => x[i]! * y[i]!)))
}

/** Σ w_i, which must not be 0. */
export function divisorOf(weights: readonly number[]): number {
  const divisor = add(weights)
  if (divisor === 0) throw new Error('the sum of the weights is 0')
  return divisor
}
