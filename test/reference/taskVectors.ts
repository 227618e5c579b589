/** Combinations of whole task vectors: task_arithmetic, model_stock, magmax, metagpt. */
import {
  add,
  baseOf,
  deltasOf,
  dot,
  type Given,
  lambdaOf,
  linesFactor,
  option,
  rounding,
  rowsOf,
  sumRange,
  type Tensor,
  task,
  weightsOf,
  zeros,
} from './numeric.js'

/** task_arithmetic: b + λ Σ w_i δ_i, divided by Σ w_i if normalize (a sum of 0 becomes 1). arXiv 2212.04089. */
export function taskArithmetic(given: Given): Tensor {
  const divisor = option(given, 'normalize', false) ? add(weightsOf(given)) || 1 : 1
  return task(
    given,
    weightsOf(given).map((w) => (lambdaOf(given) * w) / divisor),
  )
}

/**
 * model_stock: c = mean over pairs of cos(δ_i, δ_j) (product of the norms floored at 1e-6, clamped to ±1),
 * t = n c/(1 + (n−1) c); t·mean(x_i) + (1−t)·b, computed as b + Σ (t/n) δ_i. filter_wise: a t for each row.
 * A denominator of 0 is a fault. arXiv 2403.19522 (its two-model form is n = 2).
 */
export function modelStock(given: Given): Tensor {
  const deltas = deltasOf(given)
  const factor = linesFactor(given) / deltas.length
  if (!option(given, 'filter_wise', false)) {
    const ratio = stockRatio(deltas.map((x) => deltas.map((y) => dot(x, y))))
    return task(
      given,
      deltas.map(() => ratio * factor),
    )
  }
  const round = rounding(given.compute)
  const base = baseOf(given)
  const { rows, length } = rowsOf(given.shape, base.length)
  const out = zeros(given.compute, base.length)
  for (let row = 0; row < rows; row++) {
    const [start, end] = [row * length, (row + 1) * length]
    const gram = deltas.map((x) => deltas.map((y) => sumRange(start, end, (i) => x[i]! * y[i]!)))
    const c = round(stockRatio(gram) * factor)
    for (let i = start; i < end; i++) {
      let total = 0
      if (c !== 0) for (const delta of deltas) total = round(total + round(c * delta[i]!))
      out[i] = round(base[i]! + total)
    }
  }
  return out
}

export function stockRatio(gram: readonly (readonly number[])[]): number {
  const n = gram.length
  let cosines = 0
  for (let i = 0; i < n; i++)
    for (let j = i + 1; j < n; j++) {
      const norms = Math.max(Math.sqrt(gram[i]![i]!) * Math.sqrt(gram[j]![j]!), 1e-6)
      cosines += Math.min(1, Math.max(-1, gram[i]![j]! / norms))
    }
  const c = cosines / ((n * (n - 1)) / 2)
  const denominator = 1 + (n - 1) * c
  if (denominator === 0) throw new Error('model_stock: the mean cosine of the task vectors is −1/(n − 1)')
  return (n * c) / denominator
}

/** magmax: per element the δ_i of largest magnitude (of equal ones the first), b + λ·it. NaN in any model gives NaN. arXiv 2407.06322. */
export function magmax(given: Given): Tensor {
  const round = rounding(given.compute)
  const [base, deltas, lambda] = [baseOf(given), deltasOf(given), round(lambdaOf(given))]
  return base.map((origin, i) => {
    let largest = deltas[0]![i]!
    for (const delta of deltas) {
      if (Math.abs(delta[i]!) > Math.abs(largest) || Number.isNaN(delta[i]!)) largest = delta[i]!
    }
    return round(origin + round(lambda * largest))
  }) as Tensor
}

/** linear_if_changed: b + Σ w_i δ_i/(w_b + Σ w_i) if max_i ‖δ_i‖/√N > threshold, b otherwise. */
export function linearIfChanged(given: Given): Tensor {
  const deltas = deltasOf(given)
  const size = baseOf(given).length
  const far = deltas.some((delta) => !(Math.sqrt(dot(delta, delta) / size) <= option(given, 'threshold', 0)))
  const sum = option(given, 'base_weight', 1) + add(weightsOf(given)) || 1
  return task(
    given,
    weightsOf(given).map((w) => (far ? lambdaOf(given) * (w / sum) : 0)),
  )
}

/**
 * metagpt: b + λ Σ (‖δ_i‖²/Σ_k ‖δ_k‖²) δ_i, norms over all merged tensors of a model (each tensor's sum in the order of the
 * format, tensors added in the plan's order). All norms 0: the base. arXiv 2406.11385.
 */
export function metagpt(given: Given): Tensor {
  const squares = given.squaredNorms ?? deltasOf(given).map((delta) => dot(delta, delta))
  const total = add(squares) || 1
  return task(
    given,
    squares.map((square) => (lambdaOf(given) * square) / total),
  )
}
