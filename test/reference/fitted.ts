/** Methods that fit a change to all task vectors, or centre them: wudi, actmat, cart. All in float64, no weights. */
import { columns, combination, type Matrix, matrix, product, scaledColumns, svd, transposed } from './linalg.js'
import {
  add,
  baseOf,
  decoded,
  deltasOf,
  type Given,
  lambdaOf,
  linear,
  option,
  rounding,
  type Tensor,
  task,
  zeros,
} from './numeric.js'

/** Σ of what counts of a matrix's first triplets. */
const restored = (left: Matrix, values: readonly number[], right: Matrix): Matrix =>
  product(scaledColumns(left, values), transposed(right))

const squared = ({ values }: Matrix): number => add([...values].map((value) => value * value))

/** The inverse of a Gram matrix over eigenvalues above 1e-12 of the largest. */
function inverseOnRange(gram: Matrix): Matrix {
  const { left, values, right } = svd(gram)
  const counts = [...values].filter((value) => value > 1e-12 * values[0]!).length
  const inverses = [...values].slice(0, counts).map((value) => 1 / value)
  return restored(columns(right, 0, counts), inverses, columns(left, 0, counts))
}

/** Δ = (Σ δ_i G_i)(Σ G_i)⁺ with G_i = f_i δ_iᵀδ_i; models with δ_i = 0 count for nothing. */
function fitted(given: Given, factorOf: (square: number) => number): Tensor {
  const deltas = deltasOf(given)
  if (given.shape.length < 2)
    return task(
      given,
      deltas.map(() => lambdaOf(given) / deltas.length),
    )
  const rows = given.shape[0]!
  const changes = deltas
    .map((delta) => matrix(rows, delta.length / rows, delta))
    .filter((delta) => delta.values.some((value) => value !== 0))
  const round = rounding(given.compute)
  if (changes.length === 0) return baseOf(given)
  const grams = changes.map((delta) => product(transposed(delta), delta))
  const factors = changes.map((delta) => factorOf(squared(delta)))
  const fits = changes.map((delta, i) => product(delta, grams[i]!))
  const change = product(combination(fits, factors), inverseOnRange(combination(grams, factors)))
  return baseOf(given).map((origin, i) => round(origin + round(lambdaOf(given) * change.values[i]!))) as Tensor
}

/** wudi (2503.08099), closed form: f_i = 1/‖δ_i‖². */
export const wudi = (given: Given): Tensor => fitted(given, (square) => 1 / square)
/** actmat (2604.01329): f_i = 1. */
export const actmat = (given: Given): Tensor => fitted(given, () => 1)

/** cart (2412.12153): a + λ Σ [x_i − a]_k, a = mean x_i, k = max(1, int(rank_ratio·min(rows, columns))), 0 for rank_ratio 0. */
export function cart(given: Given): Tensor {
  const inputs = decoded(given)
  const ratio = option<number>(given, 'rank_ratio', 0.12)
  if (given.shape.length < 2 || ratio === 0 || inputs.length === 2)
    return linear(
      given,
      inputs.map(() => 1 / inputs.length),
    )
  const rows = given.shape[0]!
  const all = inputs.map((x) => matrix(rows, x.length / rows, x))
  const mean = combination(
    all,
    all.map(() => 1 / all.length),
  )
  const k = Math.max(1, Math.trunc(ratio * Math.min(mean.rows, mean.columns)))
  const parts = all.map((x) => {
    const { left, values, right } = svd(combination([x, mean], [1, -1]))
    const kept = Math.min(k, values.length)
    return restored(columns(left, 0, kept), [...values].slice(0, kept), columns(right, 0, kept))
  })
  const merged = combination([mean, ...parts], [1, ...parts.map(() => option(given, 'lambda', 2))])
  const round = rounding(given.compute)
  return zeros(given.compute, merged.values.length).map((_, i) => round(merged.values[i]!)) as Tensor
}
