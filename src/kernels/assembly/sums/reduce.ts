/**
 * Sums over a chunk in float64. Element i of a chunk goes to lane i mod 4; a chunk's sum is (l0 + l2) + (l1 + l3) and
 * is added to the sums so far. That grid is part of the format: a longer n is taken chunk by chunk.
 */
import { input, sums } from '../memory/context'
import { isFinite1, same1 } from '../memory/equal'
import { addTo, total } from '../memory/lanes'
import { BF16, CHUNK, F16, F32, F64, at } from '../memory/storage'

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

/** 2^-537: squares of the largest float64 times it, summed over any tensor, stay finite. */
export const SMALL: f64 = reinterpret<f64>(0x1e60000000000000)

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
    let aa = total(aa0, aa1), bb = total(bb0, bb1), ab = total(ab0, ab1)
    if (!isFinite1<f64>(aa + bb + ab)) {
      const x = a - m * bytes, y = b - m * bytes
      aa = sharedDot<S, C>(x, x, x, y, m)
      bb = sharedDot<S, C>(y, y, x, y, m)
      ab = sharedDot<S, C>(x, y, x, y, m)
    }
    addTo(out, aa)
    addTo(out + 8, bb)
    addTo(out + 16, ab)
    n -= m
  }
}

/** Σ xy of a chunk, on the same lanes, without elements that are not finite and the same in a and b. */
function sharedDot<S, C>(x: usize, y: usize, a: usize, b: usize, n: usize): f64 {
  const bytes = at<S>().bytes
  let l0: f64 = 0, l1: f64 = 0, l2: f64 = 0, l3: f64 = 0
  for (let i: usize = 0; i < n; i++) {
    const o = i * bytes, p = single<S, C>(a + o)
    if (!isFinite1<f64>(p) && same1<f64>(p, single<S, C>(b + o))) continue
    const term = single<S, C>(x + o) * single<S, C>(y + o)
    if ((i & 3) == 0) l0 += term
    else if ((i & 3) == 1) l1 += term
    else if ((i & 3) == 2) l2 += term
    else l3 += term
  }
  return l0 + l2 + (l1 + l3)
}

/**
 * dots of two float64 inputs times 2^-537 each: for norms that float64 has no room for. Element by element, without those that
 * are not finite and the same in both.
 */
export function dots_small_f64(context: usize, n: usize): void {
  const out = sums(context), a = input(context, 0), b = input(context, 1)
  for (let o: usize = 0; o < n << 3; o += 8) {
    const p = load<f64>(a + o), q = load<f64>(b + o)
    if (!isFinite1<f64>(p) && same1<f64>(p, q)) continue
    const x = p * SMALL, y = q * SMALL
    addTo(out, x * x)
    addTo(out + 8, y * y)
    addTo(out + 16, x * y)
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
