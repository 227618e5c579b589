/**
 * Methods on singular vectors: iso_c, iso_cts, tsv_m, knots, star. δ_i and the result are in the compute type, what lies
 * between in float64. A tensor of more than two dimensions is the matrix [first, product of the rest]. Of a 1-D tensor
 * (or scalar) the δ_i are averaged: b + λ Σ w_i δ_i / Σ w_i, a sum of 0 being a fault. Singular values ≤ 1e-6 of the
 * largest count as 0 (`RANK_TOLERANCE`); where singular values are equal, the vectors and what cuts between them are not defined.
 */
import { divisorOf } from './averages.js'
import {
  besides,
  columns,
  combination,
  type Matrix,
  matrix,
  polar,
  product,
  scaledColumns,
  svd,
  transposed,
} from './linalg.js'
import {
  add,
  baseOf,
  deltasOf,
  type Given,
  lambdaOf,
  option,
  rounding,
  type Tensor,
  task,
  weightsOf,
} from './numeric.js'
import { electSign } from './sign.js'
import { sparsify } from './sparsify.js'

type Merge = (deltas: readonly Matrix[], weights: readonly number[]) => Matrix

/** b + λ·merge(δ), the rest being the same for all. */
function spectral(given: Given, merge: Merge): Tensor {
  const weights = weightsOf(given)
  const deltas = deltasOf(given)
  if (given.shape.length < 2) {
    const divisor = divisorOf(weights)
    return task(
      given,
      weights.map((w) => (lambdaOf(given) * w) / divisor),
    )
  }
  const rows = given.shape[0]!
  const merged = merge(
    deltas.map((delta) => matrix(rows, delta.length / rows, delta)),
    weights,
  )
  const round = rounding(given.compute)
  return baseOf(given).map((origin, i) => round(origin + round(lambdaOf(given) * merged.values[i]!))) as Tensor
}

const scaled = (a: Matrix, factor: number): Matrix => combination([a], [factor])

/**
 * iso_c (2502.04959): Δ = Σ w_i δ_i = U S Vᵀ; every singular value becomes their mean: mean(S) U Vᵀ, the mean over
 * r = min(rows, columns). Equals (tr(QᵀΔ)/r)·Q, Q the polar factor of Δ. Deviation: null directions, where the paper's U Vᵀ is
 * arbitrary, stay null.
 */
export const isoC = (given: Given): Tensor =>
  spectral(given, (deltas, weights) => {
    const sum = combination(deltas, weights)
    const { left, values, right } = svd(sum)
    return scaled(product(left, transposed(right)), add(values) / Math.min(sum.rows, sum.columns))
  })

/**
 * iso_cts (2502.04959): r = min(rows, columns), n models, D_i = w_i δ_i. Each model gets
 * s = min(⌊r/n⌋, round((r − int(common·r))/n)) dimensions (half to even), the common part c = r − n·s. The c first singular
 * triplets of Σ D_i; of each D_i − U_c U_cᵀ D_i the s first; all U side by side and all V replaced by their polar factors;
 * every singular value by the mean over r. As the authors' program does; the floor ⌊r/n⌋ is ours (there the common part
 * could become negative). Triplets of singular value 0 are left out and count as 0 in the mean.
 */
export const isoCts = (given: Given): Tensor =>
  spectral(given, (deltas, weights) => {
    const parts = deltas.map((delta, i) => scaled(delta, weights[i]!))
    const r = Math.min(parts[0]!.rows, parts[0]!.columns)
    const share = (r - Math.trunc(option(given, 'common', 0.8) * r)) / parts.length
    const specific = Math.min(Math.floor(r / parts.length), halfToEven(share))
    const common = firstOf(
      combination(
        parts,
        parts.map(() => 1),
      ),
      r - parts.length * specific,
    )
    const projected = parts.map((part) =>
      combination([part, product(common.left, product(transposed(common.left), part))], [1, -1]),
    )
    const all = [common, ...projected.map((part) => firstOf(part, specific))]
    const mean = add(all.flatMap(({ values }) => values)) / r
    return scaled(product(joint(all.map(({ left }) => left)), transposed(joint(all.map(({ right }) => right)))), mean)
  })

/**
 * tsv_m (2412.00081): the k = max(1, int(rank_share·min(rows, columns))) first singular triplets of each D_i = w_i δ_i, rank_share 1/n;
 * the U_i side by side and the V_i replaced by their polar factors Û, V̂: Û S V̂ᵀ. Triplets of singular value 0 are left out.
 * Û = U (UᵀU)^(−1/2), so the inverse square root of a small Gram matrix will do.
 */
export const tsvM = (given: Given): Tensor =>
  spectral(given, (deltas, weights) => {
    const share = option(given, 'rank_share', 1 / deltas.length)
    const r = Math.min(deltas[0]!.rows, deltas[0]!.columns)
    const k = Math.max(1, Math.trunc(share * r))
    const all = deltas.map((delta, i) => firstOf(scaled(delta, weights[i]!), k))
    const left = joint(all.map((part) => part.left))
    const values = all.flatMap((part) => part.values)
    return product(scaledColumns(left, values), transposed(joint(all.map((part) => part.right))))
  })

/**
 * knots (2410.19735): [δ_1 … δ_n] = U S [V_1 … V_n]ᵀ; the factors S V_iᵀ = Uᵀ δ_i are merged by the inner method (`ties`:
 * trim to density, elect, mean; `task_arithmetic`: Σ w_i, which is task_arithmetic itself) and multiplied by U. The
 * factors carry S, as in the authors' program, so that trimming goes by what an element contributes; the joint
 * decomposition is of the unweighted δ_i. A factor is a tensor of [rank, columns] in the compute type.
 */
export const knots = (given: Given): Tensor =>
  spectral(given, (deltas, weights) => {
    const { left } = svd(besides(deltas))
    const round = rounding(given.compute)
    const factors = deltas.map((delta) => product(transposed(left), delta))
    const inner = option<string>(given, 'inner', 'ties')
    if (inner === 'task_arithmetic') return product(left, combination(factors, weights))
    if (inner !== 'ties') throw new Error(`knots has no inner method ${inner}`)
    const rounded = factors.map((factor) => factor.values.map(round))
    const merged = electSign(given, sparsify(given, rounded, 'trim'), true)
    return product(left, matrix(left.columns, deltas[0]!.columns, merged))
  })

/**
 * star (2502.10339): of each δ_i the fewest first singular triplets whose values sum to at least eta of all (at least one), times
 * (sum of all)/(sum of the kept); then Σ w_i of these / Σ w_i, a sum of 0 being a fault.
 */
export const star = (given: Given): Tensor =>
  spectral(given, (deltas, weights) => {
    const divisor = divisorOf(weights)
    const truncated = deltas.map((delta) => {
      const whole = svd(delta)
      const total = add(whole.values)
      let [rank, kept] = [0, 0]
      while (rank < whole.values.length && (rank === 0 || kept < option(given, 'eta', 0.4) * total)) {
        kept += whole.values[rank]!
        rank++
      }
      const values = whole.values.slice(0, rank).map((value) => (value * total) / kept)
      const left = scaledColumns(columns(whole.left, 0, rank), values)
      return product(left, transposed(columns(whole.right, 0, rank)))
    })
    return combination(
      truncated,
      weights.map((w) => w / divisor),
    )
  })

/** The `count` first singular triplets, fewer where the rank is lower. */
function firstOf(a: Matrix, count: number) {
  const { left, values, right } = svd(a)
  const kept = Math.min(count, values.length)
  return { left: columns(left, 0, kept), values: values.slice(0, kept), right: columns(right, 0, kept) }
}

const joint = (parts: readonly Matrix[]): Matrix => polar(besides(parts))

function halfToEven(x: number): number {
  const below = Math.floor(x)
  if (x - below !== 0.5) return Math.round(x)
  return below % 2 === 0 ? below : below + 1
}
