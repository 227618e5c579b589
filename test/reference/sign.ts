/** Sparsified task vectors, added up or under an elected sign: ties, dare, della, breadcrumbs; and sce. */
import {
  add,
  baseOf,
  byMagnitude,
  deltasOf,
  type Given,
  lambdaOf,
  linesFactor,
  magnitudeKey,
  option,
  type Round,
  rounding,
  sum,
  type Tensor,
  weightsOf,
  zeros,
} from './numeric.js'
import { type Sparse, type Sparsifier, sparsify } from './sparsify.js'

/**
 * dare_linear (2311.03099), della_linear (2406.11617), breadcrumbs (2312.06795): b + λ Σ w_i s_i m_i δ_i, divided by Σ w_i if normalize (a sum
 * of 0 becomes 1), s_i the rescaling. λ w_i s_i/Σw is one float64 coefficient, rounded once; elements that are dropped are
 * left out of the sum.
 */
export function sparseSum(given: Given, kind: Sparsifier): Tensor {
  const round = rounding(given.compute)
  const base = baseOf(given)
  const weights = weightsOf(given)
  const divisor = option(given, 'normalize', false) ? add(weights) || 1 : 1
  const sparse = sparsify(given, deltasOf(given), kind)
  const coefficients = sparse.map(({ scale }, i) => round((lambdaOf(given) * weights[i]! * scale) / divisor))
  return base.map((origin, i) => {
    let total = 0
    sparse.forEach(({ values, mask }, model) => {
      if (mask[i] && coefficients[model] !== 0) total = round(total + round(coefficients[model]! * values[i]!))
    })
    return round(origin + total)
  }) as Tensor
}

/** ties (2306.01708), dare_ties, della, breadcrumbs_ties: the same parts under `electSign`. */
export function sparseElection(given: Given, kind: Sparsifier, normalizeByDefault: boolean): Tensor {
  const merged = electSign(given, sparsify(given, deltasOf(given), kind), normalizeByDefault)
  const round = rounding(given.compute)
  const lambda = round(lambdaOf(given))
  return baseOf(given).map((origin, i) => round(origin + round(lambda * merged[i]!))) as Tensor
}

/**
 * D_i = (w_i s_i) m_i δ_i; elected sign + if Σ D_i ≥ 0 else −; the sum of the D_i of that sign (a zero D_i has none), if
 * normalize divided by the sum of their w_i (0 becomes 1). NaN in Σ D_i gives NaN. All sums in recipe order in the compute type.
 */
export function electSign(given: Given, sparse: readonly Sparse[], normalizeByDefault: boolean): Tensor {
  const round = rounding(given.compute)
  const weights = weightsOf(given)
  const coefficients = sparse.map(({ scale }, i) => round(weights[i]! * scale))
  const normalize = option(given, 'normalize', normalizeByDefault)
  return zeros(given.compute, sparse[0]!.values.length).map((_, i) => {
    const parts = sparse.map(({ values, mask }, model) =>
      mask[i] && coefficients[model] !== 0 ? round(coefficients[model]! * values[i]!) : 0,
    )
    const votes = parts.reduce((total, part) => round(total + part), 0)
    if (Number.isNaN(votes)) return votes
    const agrees = (part: number) => (votes >= 0 ? part > 0 : part < 0)
    const total = parts.reduce((sofar, part) => (agrees(part) ? round(sofar + part) : sofar), 0)
    if (!normalize) return total
    const divisor = parts.reduce((w, part, model) => (agrees(part) ? round(w + round(weights[model]!)) : w), 0)
    return round(total / (divisor === 0 ? 1 : divisor))
  }) as Tensor
}

/**
 * sce (2408.07990). select_topk < 1: of the positions whose population variance over the models is not 0, keep in every δ_i
 * the int(topk · their number) of largest variance (none: the tensor is base). Variances are float64 (mean of the n values,
 * then the mean of squared differences), rounded to float32 for counting and ranking, so that n equal values have
 * exactly 0; of equal ones the lowest index. w_i = mean(δ_i²)/Σ_k mean(δ_k²) after that, equal if the sum is < 1e-6.
 * Elected sign from the unweighted Σ δ_i as in ties, m_i the agreeing non-zero ones: b + Σ w_i δ_i m_i / max(Σ w_i m_i, 1e-6).
 */
export function sce(given: Given): Tensor {
  const round = rounding(given.compute)
  const base = baseOf(given)
  const topk = option(given, 'select_topk', 1)
  let deltas = deltasOf(given)
  if (topk < 1) {
    const variances = base.map((_, i) => variance(deltas.map((delta) => delta[i]!)))
    const varied = variances.filter((x) => magnitudeKey(x) !== 0).length
    const kept = new Set(byMagnitude(variances).slice(0, Math.trunc(topk * varied)))
    if (kept.size === 0) return base
    deltas = deltas.map((delta) => delta.map((x, i) => (kept.has(i) ? x : 0)) as Tensor)
  }
  const means = deltas.map((delta) => sum(delta.length, (i) => delta[i]! * delta[i]!) / delta.length)
  const total = add(means)
  const weights = means.map((mean) => round(total < 1e-6 ? 1 / deltas.length : mean / total))
  const scale = round(linesFactor(given))
  return base.map((origin, i) => {
    const merged = agreeingMean(
      deltas.map((delta) => delta[i]!),
      weights,
      round,
    )
    return round(origin + round(scale * merged))
  }) as Tensor
}

function agreeingMean(values: readonly number[], weights: readonly number[], round: Round): number {
  const votes = values.reduce((total, value) => round(total + value), 0)
  if (Number.isNaN(votes)) return votes
  let [total, divisor] = [0, 0]
  values.forEach((value, model) => {
    if (!(votes >= 0 ? value > 0 : value < 0)) return
    total = round(total + round(weights[model]! * value))
    divisor = round(divisor + weights[model]!)
  })
  return round(total / Math.max(divisor, round(1e-6)))
}

function variance(values: readonly number[]): number {
  const mean = add(values) / values.length
  return add(values.map((value) => (value - mean) * (value - mean))) / values.length
}
