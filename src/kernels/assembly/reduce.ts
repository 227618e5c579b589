/**
 * Sums over a chunk in float64. Element i of a chunk goes to lane i mod 4; a chunk's sum is (l0 + l2) + (l1 + l3) and
 * is added to the sums so far. That grid is part of the format: a longer n is taken chunk by chunk.
 */
import { input, sums } from './context'
import { addTo, total } from './lanes'
import { BF16, CHUNK, F16, F32, F64, at } from './storage'

/** Lanes 0 and 1, or 2 and 3, of four elements at p, as f64. */
// @ts-ignore: decorator
@inline
function pair<S, C>(x: v128, p: usize, high: bool): v128 {
  if (sizeof<C>() == 8) return high ? v128.load(p, 16) : x
  return f64x2.promote_low_f32x4(high ? v128.shuffle<u64>(x, x, 1, 1) : x)
}

/** Lane 0 as f64, and 0 in the other. */
// @ts-ignore: decorator
@inline
function single<S, C>(p: usize): f64 {
  const x = at<S>().load1(p)
  return sizeof<C>() == 8 ? f64x2.extract_lane(x, 0) : <f64>f32x4.extract_lane(x, 0)
}

// @ts-ignore: decorator
@inline
function dots<S, C>(context: usize, n: usize): void {
  const bytes = at<S>().bytes, out = sums(context)
  let a = input(context, 0), b = input(context, 1)
  while (n > 0) {
    const m = min(n, CHUNK), blocks = a + (m & ~3) * bytes
    let aa0 = f64x2.splat(0), aa1 = aa0, bb0 = aa0, bb1 = aa0, ab0 = aa0, ab1 = aa0
    while (a < blocks) {
      const x = at<S>().load(a), y = at<S>().load(b)
      const x0 = pair<S, C>(x, a, false), x1 = pair<S, C>(x, a, true)
      const y0 = pair<S, C>(y, b, false), y1 = pair<S, C>(y, b, true)
      aa0 = f64x2.add(aa0, f64x2.mul(x0, x0))
      aa1 = f64x2.add(aa1, f64x2.mul(x1, x1))
      bb0 = f64x2.add(bb0, f64x2.mul(y0, y0))
      bb1 = f64x2.add(bb1, f64x2.mul(y1, y1))
      ab0 = f64x2.add(ab0, f64x2.mul(x0, y0))
      ab1 = f64x2.add(ab1, f64x2.mul(x1, y1))
      a += 4 * bytes
      b += 4 * bytes
    }
    // What is left goes to lanes 0, 1, 2 with zeros after it; adding 0 changes no sum, for none is −0.
    const left = m & 3
    if (left > 0) {
      const x0 = single<S, C>(a), x1 = left > 1 ? single<S, C>(a + bytes) : 0, x2 = left > 2 ? single<S, C>(a + 2 * bytes) : 0
      const y0 = single<S, C>(b), y1 = left > 1 ? single<S, C>(b + bytes) : 0, y2 = left > 2 ? single<S, C>(b + 2 * bytes) : 0
      aa0 = f64x2.add(aa0, f64x2(x0 * x0, x1 * x1))
      aa1 = f64x2.add(aa1, f64x2(x2 * x2, 0))
      bb0 = f64x2.add(bb0, f64x2(y0 * y0, y1 * y1))
      bb1 = f64x2.add(bb1, f64x2(y2 * y2, 0))
      ab0 = f64x2.add(ab0, f64x2(x0 * y0, x1 * y1))
      ab1 = f64x2.add(ab1, f64x2(x2 * y2, 0))
      a += left * bytes
      b += left * bytes
    }
    addTo(out, total(aa0, aa1))
    addTo(out + 8, total(bb0, bb1))
    addTo(out + 16, total(ab0, ab1))
    n -= m
  }
}

export function dots_f32(context: usize, n: usize): void { dots<F32, f32>(context, n) }
export function dots_f64(context: usize, n: usize): void { dots<F64, f64>(context, n) }
export function dots_F16(context: usize, n: usize): void { dots<F16, f32>(context, n) }
export function dots_BF16(context: usize, n: usize): void { dots<BF16, f32>(context, n) }

/** Element by element: for looking at two models, not for merging them. */
// @ts-ignore: decorator
@inline
function compare<S, C>(context: usize, n: usize): void {
  dots<S, C>(context, n)
  const bytes = at<S>().bytes, out = sums(context)
  let a = input(context, 0), b = input(context, 1)
  let most = load<f64>(out, 32)
  while (n > 0) {
    const m = min(n, CHUNK), end = a + m * bytes
    let squares: f64 = 0
    while (a < end) {
      const d = single<S, C>(a) - single<S, C>(b)
      squares += d * d
      // A NaN anywhere stays: `max` of WebAssembly hands it on.
      most = max(most, abs(d))
      a += bytes
      b += bytes
    }
    addTo(out + 24, squares)
    n -= m
  }
  store<f64>(out, most, 32)
}

export function compare_f32(context: usize, n: usize): void { compare<F32, f32>(context, n) }
export function compare_f64(context: usize, n: usize): void { compare<F64, f64>(context, n) }
