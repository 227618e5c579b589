/** Methods with a statistics file a model: fisher, regmean. */

import { linearAverage } from './averages.js'
import { decoded, type Given, option, rounding, type Tensor, weightsOf, zeros } from './numeric.js'

function statisticsOf(given: Given): readonly Tensor[] {
  if (given.statistics === undefined) throw new Error('internal: the method needs statistics')
  return given.statistics
}

/**
 * fisher (2111.09832): Σ w_i F_i x_i / Σ w_i F_i, F_i the diagonal Fisher information, floored at `floor` for each model so that an
 * element that mattered to nobody is the weighted mean. w_i in the compute type, products and sums in recipe order.
 */
export function fisher(given: Given): Tensor {
  const round = rounding(given.compute)
  const [inputs, statistics, weights] = [decoded(given), statisticsOf(given), weightsOf(given).map(round)]
  const floor = round(option(given, 'floor', 1e-6))
  return zeros(given.compute, inputs[0]!.length).map((_, i) => {
    let [total, divisor] = [0, 0]
    inputs.forEach((x, model) => {
      const share = round(weights[model]! * Math.max(round(statistics[model]![i]!), floor))
      if (share === 0) return
      total = round(total + round(share * x[i]!))
      divisor = round(divisor + share)
    })
    return round(total / divisor)
  }) as Tensor
}

/**
 * regmean (2212.09849): for W_i stored [outputs, inputs] and G_i = XᵀX [inputs, inputs] with off-diagonals times alpha:
 * W = (Σ W_i G_i)(Σ G_i)⁻¹, the stored form of (ΣG_i)⁻¹ ΣG_i W_i. By Cholesky in float64, one rounding at the end. An
 * input that no model's data ever fed (its diagonals are all 0) takes the mean of the W_i. Tensors that are no matrices, or have no G: the mean.
 */
export function regmean(given: Given): Tensor {
  if (given.shape.length !== 2 || given.statistics === undefined) return linearAverage({ ...given, parameters: {} })
  const [outputs, inputs] = given.shape as [number, number]
  const alpha = option(given, 'alpha', 0.9)
  const weights = decoded(given)
  const grams = statisticsOf(given).map((g) =>
    Float64Array.from(g, (value, at) => (Math.floor(at / inputs) === at % inputs ? value : alpha * value)),
  )
  for (let j = 0; j < inputs; j++) {
    if (grams.every((g) => g[j * inputs + j] === 0)) for (const g of grams) g[j * inputs + j] = 1
  }
  const total = new Float64Array(inputs * inputs)
  for (const g of grams) for (let at = 0; at < total.length; at++) total[at]! += g[at]!
  const factor = cholesky(total, inputs)
  const round = rounding(given.compute)
  const out = zeros(given.compute, outputs * inputs)
  for (let row = 0; row < outputs; row++) {
    const right = new Float64Array(inputs)
    weights.forEach((w, model) => {
      for (let i = 0; i < inputs; i++)
        for (let j = 0; j < inputs; j++) right[j]! += w[row * inputs + i]! * grams[model]![i * inputs + j]!
    })
    solve(factor, inputs, right)
    for (let j = 0; j < inputs; j++) out[row * inputs + j] = round(right[j]!)
  }
  return out
}

/** Lower triangle L with A = L Lᵀ. A pivot that is not positive is a fault of the statistics. */
function cholesky(a: Float64Array, n: number): Float64Array {
  const lower = new Float64Array(n * n)
  for (let i = 0; i < n; i++)
    for (let j = 0; j <= i; j++) {
      let rest = a[i * n + j]!
      for (let k = 0; k < j; k++) rest -= lower[i * n + k]! * lower[j * n + k]!
      if (i === j && !(rest > 0)) throw new Error('regmean: the Gram matrices are not positive definite')
      lower[i * n + j] = i === j ? Math.sqrt(rest) : rest / lower[j * n + j]!
    }
  return lower
}

function solve(lower: Float64Array, n: number, x: Float64Array): void {
  for (let i = 0; i < n; i++) {
    for (let k = 0; k < i; k++) x[i]! -= lower[i * n + k]! * x[k]!
    x[i]! /= lower[i * n + i]!
  }
  for (let i = n - 1; i >= 0; i--) {
    for (let k = i + 1; k < n; k++) x[i]! -= lower[k * n + i]! * x[k]!
    x[i]! /= lower[i * n + i]!
  }
}
