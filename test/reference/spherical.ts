/** Means on the sphere: slerp, nuslerp, multislerp, karcher. All angles and coefficients are float64 numbers. */

import { divisorOf } from './averages.js'
import {
  add,
  baseOf,
  decoded,
  deltasOf,
  dot,
  type Given,
  linear,
  mathOf,
  option,
  rounding,
  rowsOf,
  sumRange,
  type Tensor,
  type Transcendental,
  task,
  weightsOf,
  zeros,
} from './numeric.js'

type Pair = readonly [number, number]
const clampUnit = (x: number): number => Math.min(1, Math.max(-1, x))

/**
 * slerp: a the first, c the second model, d the cosine of the whole tensors. abs(d) > 0.9995: (1−t)a + tc; otherwise
 * (sin((1−t)θ)·a + sin(tθ)·c)/sin θ, θ = acos d, on the unnormalised tensors. A norm ≤ 1e-8 is not divided by.
 * Source: Shoemake 1985, with mergekit's linear branch.
 */
export function slerp(given: Given): Tensor {
  const [a, c] = decoded(given) as [Tensor, Tensor]
  return linear(
    given,
    slerpCoefficients(dot(a, a), dot(c, c), dot(a, c), option(given, 't', Number.NaN), mathOf(given)),
  )
}

function slerpCoefficients(aa: number, cc: number, ac: number, t: number, math: Transcendental): Pair {
  const norm = (square: number) => (Math.sqrt(square) > 1e-8 ? Math.sqrt(square) : 1)
  const d = ac / (norm(aa) * norm(cc))
  if (Math.abs(d) > 0.9995) return [1 - t, t]
  const theta = math.acos(d)
  return [math.sin((1 - t) * theta) / math.sin(theta), math.sin(t * theta) / math.sin(theta)]
}

/**
 * nuslerp: t = w2/(w1 + w2), 0.5 where abs(w1 + w2) < 1e-6; slerp of the whole tensor (flatten), of each row (vector along the
 * last axis) or of each column (vector along axis 0); on δ where there is a base. Linear where abs(sin θ) < 1e-6. A vector
 * of norm 0 has the cosine 0 to everything. A 1-D tensor is one row and one column.
 * Deviation: mergekit's `nuslerp_row_wise: true` means columns.
 */
export function nuslerp(given: Given): Tensor {
  const [w1, w2] = weightsOf(given) as [number, number]
  const t = Math.abs(w1 + w2) < 1e-6 ? 0.5 : w2 / (w1 + w2)
  const [a, c] = (given.base === undefined ? decoded(given) : deltasOf(given)) as [Tensor, Tensor]
  if (option(given, 'flatten', true)) {
    const pair = nuslerpCoefficients(dot(a, a), dot(c, c), dot(a, c), t, mathOf(given))
    return given.base === undefined ? linear(given, pair) : task(given, pair)
  }
  const { rows, length } = rowsOf(given.shape, a.length)
  const pairs: Pair[] = []
  const byRow = option(given, 'row_wise', true) || given.shape.length < 2
  const columns = given.shape.length < 2 ? 1 : a.length / given.shape[0]!
  if (byRow) {
    for (let row = 0; row < rows; row++) {
      const over = (x: Tensor, y: Tensor) => sumRange(row * length, (row + 1) * length, (i) => x[i]! * y[i]!)
      pairs.push(nuslerpCoefficients(over(a, a), over(c, c), over(a, c), t, mathOf(given)))
    }
  } else {
    for (let column = 0; column < columns; column++) {
      const over = (x: Tensor, y: Tensor) => columnSum(x, y, column, columns)
      pairs.push(nuslerpCoefficients(over(a, a), over(c, c), over(a, c), t, mathOf(given)))
    }
  }
  const round = rounding(given.compute)
  const base = given.base === undefined ? undefined : baseOf(given)
  return zeros(given.compute, a.length).map((_, i) => {
    const [first, second] = pairs[byRow ? Math.floor(i / length) : i % columns]!
    const value = round(round(round(first) * a[i]!) + round(round(second) * c[i]!))
    return base === undefined ? value : round(base[i]! + value)
  }) as Tensor
}

/** Down axis 0 in order, one float64 a tile of 2¹⁸ elements, tiles in order. */
function columnSum(x: Tensor, y: Tensor, column: number, columns: number): number {
  const tile = 2 ** 18
  let [total, part, current] = [0, 0, 0]
  for (let i = column; i < x.length; i += columns) {
    if (Math.floor(i / tile) !== current) {
      total += part
      part = 0
      current = Math.floor(i / tile)
    }
    part += x[i]! * y[i]!
  }
  return total + part
}

function nuslerpCoefficients(aa: number, cc: number, ac: number, t: number, math: Transcendental): Pair {
  const norms = Math.sqrt(aa) * Math.sqrt(cc)
  const theta = math.acos(norms === 0 ? 0 : clampUnit(ac / norms))
  const sine = math.sin(theta)
  if (Math.abs(sine) < 1e-6) return [1 - t, t]
  return [math.sin((1 - t) * theta) / sine, math.sin(t * theta) / sine]
}

/** v of the span, as coefficients: vᵀ G w. */
const inner = (gram: readonly (readonly number[])[], v: readonly number[], w: readonly number[]): number =>
  add(v.map((left, i) => add(w.map((right, j) => left * gram[i]![j]! * right))))
const length = (gram: readonly (readonly number[])[], v: readonly number[]): number =>
  Math.sqrt(Math.max(0, inner(gram, v, v)))

/** G_ij = x_i · x_j over the whole tensor: one pass of n(n + 1)/2 sums. */
const gramOf = (tensors: readonly Tensor[]): number[][] => tensors.map((x) => tensors.map((y) => dot(x, y)))

/**
 * multislerp: U_i = x_i/(‖x_i‖ + eps); m = Σ w_i U_i, normalised; τ = Σ w_i (U_i − (U_i·m) m);
 * result (m cos‖τ‖ + τ sin‖τ‖/‖τ‖) · Σ w_i ‖x_i‖; on δ where there is a base. w_i divided by Σw under normalize_weights.
 * ‖Σ w_i U_i‖ < eps: Σ w_i x_i for two models, else a fault. All in the span of the x_i, so that their Gram matrix is the
 * only pass and the result is one linear combination. Source: mergekit.
 */
export function multislerp(given: Given): Tensor {
  const tensors = given.base === undefined ? decoded(given) : deltasOf(given)
  const raw = weightsOf(given)
  const divisor = option(given, 'normalize_weights', true) ? divisorOf(raw) : 1
  const coefficients = multislerpCoefficients(
    gramOf(tensors),
    raw.map((w) => w / divisor),
    option(given, 'eps', 1e-8),
    mathOf(given),
  )
  return given.base === undefined ? linear(given, coefficients) : task(given, coefficients)
}

function multislerpCoefficients(
  dots: readonly (readonly number[])[],
  weights: readonly number[],
  eps: number,
  math: Transcendental,
) {
  const norms = dots.map((row, i) => Math.sqrt(row[i]!))
  const gram = dots.map((row, i) => row.map((x, j) => x / ((norms[i]! + eps) * (norms[j]! + eps))))
  const size = length(gram, weights)
  if (size < eps) {
    if (weights.length === 2) return weights
    throw new Error('the weighted mean of the directions is 0')
  }
  const mean = weights.map((w) => w / size)
  const unit = (which: number) => weights.map((_, i) => (i === which ? 1 : 0))
  const along = add(weights.map((w, i) => w * inner(gram, unit(i), mean)))
  const tangent = weights.map((w, i) => w - along * mean[i]!)
  const angle = length(gram, tangent)
  const scale = add(weights.map((w, i) => w * norms[i]!))
  const swing = angle < eps ? 0 : math.sin(angle) / angle
  const turn = angle < eps ? 1 : math.cos(angle)
  return mean.map((m, i) => ((m * turn + tangent[i]! * swing) * scale) / (norms[i]! + eps))
}

/**
 * karcher: u_i = x_i/‖x_i‖, models with norm ≤ tol left out; m starts as their normalised mean (the first u where that mean is
 * shorter than tol); T = mean of (θ_i/sin θ_i)(u_i − cos θ_i·m), θ_i < tol and antipodes contributing nothing; m moves along the
 * great circle of T by ‖T‖ and is normalised; stop at ‖T‖ < tol. Scaled by the mean of all norms; 0 where all are left out.
 * Again a linear combination found from the Gram matrix. Source: arXiv 2603.04972.
 */
export function karcher(given: Given): Tensor {
  return linear(
    given,
    karcherCoefficients(
      gramOf(decoded(given)),
      option(given, 'max_iter', 10),
      option(given, 'tol', 1e-5),
      mathOf(given),
    ),
  )
}

function karcherCoefficients(
  dots: readonly (readonly number[])[],
  iterations: number,
  tol: number,
  math: Transcendental,
): number[] {
  const norms = dots.map((row, i) => Math.sqrt(row[i]!))
  const used = norms.flatMap((norm, i) => (norm > tol ? [i] : []))
  const result = norms.map(() => 0)
  if (used.length === 0) return result
  const gram = used.map((i) => used.map((j) => dots[i]![j]! / (norms[i]! * norms[j]!)))
  const unit = (which: number) => used.map((_, i) => (i === which ? 1 : 0))
  let mean = used.map(() => 1 / used.length)
  const start = length(gram, mean)
  mean = start < tol ? unit(0) : mean.map((m) => m / start)
  for (let step = 0; step < iterations; step++) {
    let tangent = used.map(() => 0)
    used.forEach((_, which) => {
      const cosine = clampUnit(inner(gram, unit(which), mean))
      const theta = math.acos(cosine)
      const sine = math.sin(theta)
      if (theta < tol || sine < tol) return
      const factor = theta / sine / used.length
      tangent = tangent.map((t, i) => t + factor * ((i === which ? 1 : 0) - cosine * mean[i]!))
    })
    const size = length(gram, tangent)
    if (size < tol) break
    const moved = mean.map((m, i) => math.cos(size) * m + (math.sin(size) * tangent[i]!) / size)
    mean = moved.map((m) => m / length(gram, moved))
  }
  const scale = add(norms) / norms.length
  used.forEach((which, i) => {
    result[which] = (mean[i]! * scale) / norms[which]!
  })
  return result
}
