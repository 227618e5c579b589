/** A base and one other model: arcee_fusion, nearswap. Both are listed; `inputs` holds the other one only. */
import {
  baseOf,
  decoded,
  type Given,
  magnitudeKey,
  mathOf,
  option,
  rounding,
  rowsOf,
  sumRange,
  type Tensor,
  type Transcendental,
  zeros,
} from './numeric.js'

/**
 * arcee_fusion: p = softmax(x, rows) + 1e-8, q = softmax(b, rows) + 1e-8, KL = Σ_row p ln(p/q), importance = abs(δ)·KL of
 * its row; x where importance ≥ Q(½) + 1.5·(Q(¾) − Q(¼)), b elsewhere, Q(f) = sorted[int(f·(N−1))] over the tensor.
 * KL is float64 (row maximum subtracted; sums in the order of `sumRange` from the row's start), not under 0, and rounded
 * once; importance is rounded to float32 for ranking and comparing; the threshold, of float32 quantiles, is rounded once
 * to float32. Deviation: mergekit estimates quantiles of large tensors and computes KL in float32.
 */
export function arceeFusion(given: Given): Tensor {
  const [base, x] = [baseOf(given), decoded(given)[0]!]
  const round = rounding(given.compute)
  const { rows, length } = rowsOf(given.shape, x.length)
  const importance = new Float32Array(x.length)
  for (let row = 0; row < rows; row++) {
    const divergence = round(rowDivergence(x, base, row * length, (row + 1) * length, mathOf(given)))
    for (let i = row * length; i < (row + 1) * length; i++) {
      importance[i] = round(Math.abs(round(x[i]! - base[i]!)) * divergence)
    }
  }
  const sorted = importance.slice().sort((a, b) => magnitudeKey(a) - magnitudeKey(b))
  const quantile = (f: number) => sorted[Math.trunc(f * (x.length - 1))]!
  const threshold = Math.fround(quantile(0.5) + 1.5 * (quantile(0.75) - quantile(0.25)))
  return x.map((value, i) => (importance[i]! >= threshold ? value : base[i]!)) as Tensor
}

function rowDivergence(x: Tensor, base: Tensor, start: number, end: number, math: Transcendental): number {
  const softmax = (tensor: Tensor) => {
    let largest = Number.NEGATIVE_INFINITY
    for (let i = start; i < end; i++) largest = Math.max(largest, tensor[i]!)
    const total = sumRange(start, end, (i) => math.exp(tensor[i]! - largest))
    return (i: number) => math.exp(tensor[i]! - largest) / total + 1e-8
  }
  const [p, q] = [softmax(x), softmax(base)]
  return Math.max(
    0,
    sumRange(start, end, (i) => p(i) * math.log(p(i) / q(i))),
  )
}

/** nearswap: s = clamp(t/max(abs(b − x), 1e-6), 0, 1); s·x + (1−s)·b, in the compute type. Source: mergekit. */
export function nearswap(given: Given): Tensor {
  const round = rounding(given.compute)
  const [base, x] = [baseOf(given), decoded(given)[0]!]
  const [t, least] = [round(option(given, 't', Number.NaN)), round(1e-6)]
  return zeros(given.compute, x.length).map((_, i) => {
    const distance = Math.max(Math.abs(round(base[i]! - x[i]!)), least)
    const s = Math.min(Math.max(round(t / distance), 0), 1)
    return round(round(s * x[i]!) + round(round(1 - s) * base[i]!))
  }) as Tensor
}
