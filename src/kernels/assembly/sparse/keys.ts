/**
 * What elements are ranked by, in blocks: keys are the bits of a float32 magnitude, every NaN 0x7fc00000.
 *
 * DELTA:      the magnitude of x − b of one model.
 * VARIANCE:   population variance of all models' x − b, in float64: mean = (Σ δ_i)/n, variance = (Σ (δ_i − mean)²)/n.
 * IMPORTANCE: abs(x − b) of the first model times its row's number in the table, a product of C.
 */
import { OUT, baseBlock, before, block, difference, keysOf } from './block'
import { base, first, input, inputCount, rowLength, table } from '../memory/context'
import { minus1 } from '../memory/equal'
import { F32, F64, at } from '../memory/storage'

export const DELTA = 0
export const VARIANCE = 1
export const IMPORTANCE = 2

/** Where `keysOfBlock` leaves a block's keys. */
export const KEYS = memory.data(256 * 4, 16)

const MEANS = memory.data(256 * 8, 16)
/** Free while keys are made. */
const SQUARES = OUT

/** Keys of m ≤ BLOCK elements from the o-th of the call on; after them up to a multiple of four may stand anything. */
// @ts-ignore: decorator
@inline
export function keysOfBlock<S, C>(context: usize, source: i32, model: usize, o: usize, m: usize): void {
  const offset = o * at<S>().bytes, b = baseBlock<S>(base(context) + offset, m)
  if (source == VARIANCE) variances<S, C>(context, offset, b, m)
  else {
    const x = block<S>(input(context, model) + offset, m)
    if (source == DELTA) deltas<S, C>(x, b, m)
    else importances<S, C>(context, x, b, o, m)
  }
}

// @ts-ignore: decorator
@inline
function deltas<S, C>(x: usize, b: usize, m: usize): void {
  const four = at<S>().bytes << 2
  for (let to: usize = KEYS, end = KEYS + (m << 2); to < end; to += 16, x += four, b += four) {
    const d0 = difference<S, C>(x, b)
    v128.store(to, keysOf<C>(d0, sizeof<C>() == 8 ? difference<S, C>(x + 16, b + 16) : d0))
  }
}

/** Lanes 0 and 1, or 2 and 3, of four differences, as f64. */
// @ts-ignore: decorator
@inline
function wide<S, C>(x: usize, b: usize, high: bool): v128 {
  if (sizeof<C>() == 8) return difference<S, C>(high ? x + 16 : x, high ? b + 16 : b)
  const d = difference<S, C>(x, b)
  return f64x2.promote_low_f32x4(high ? v128.shuffle<u64>(d, d, 1, 1) : d)
}

/** x/n, where `inverse` is 1/n: exact as a product where n is a power of two. */
// @ts-ignore: decorator
@inline
function divided(x: v128, n: v128, inverse: v128, exact: bool): v128 {
  return exact ? f64x2.mul(x, inverse) : f64x2.div(x, n)
}

/** Two or three models: everything in registers. `three` is a constant where this is inlined. */
// @ts-ignore: decorator
@inline
function fewVariances<S, C>(context: usize, offset: usize, b: usize, m: usize, three: bool): void {
  const bytes = at<S>().bytes, four = bytes << 2
  const n = f64x2.splat(three ? 3 : 2), half = f64x2.splat(0.5)
  let x = input(context, 0) + offset, y = input(context, 1) + offset, z = three ? input(context, 2) + offset : 0
  for (let to: usize = KEYS, end = KEYS + (m << 2); to < end; to += 16) {
    const x0 = wide<S, C>(x, b, false), x1 = wide<S, C>(x, b, true)
    const y0 = wide<S, C>(y, b, false), y1 = wide<S, C>(y, b, true)
    const z0 = three ? wide<S, C>(z, b, false) : x0, z1 = three ? wide<S, C>(z, b, true) : x1
    let s0 = f64x2.add(x0, y0), s1 = f64x2.add(x1, y1)
    if (three) {
      s0 = f64x2.add(s0, z0)
      s1 = f64x2.add(s1, z1)
    }
    const mean0 = divided(s0, n, half, !three), mean1 = divided(s1, n, half, !three)
    let v0 = f64x2.add(square(x0, mean0), square(y0, mean0)), v1 = f64x2.add(square(x1, mean1), square(y1, mean1))
    if (three) {
      v0 = f64x2.add(v0, square(z0, mean0))
      v1 = f64x2.add(v1, square(z1, mean1))
    }
    v128.store(to, keysOf<f64>(divided(v0, n, half, !three), divided(v1, n, half, !three)))
    x += four
    y += four
    z += four
    b += four
  }
}

// @ts-ignore: decorator
@inline
function square(x: v128, mean: v128): v128 {
  const d = f64x2.sub(x, mean)
  return f64x2.mul(d, d)
}

function variances<S, C>(context: usize, offset: usize, b: usize, m: usize): void {
  const count = <usize>inputCount(context), four = at<S>().bytes << 2
  // The last elements of a tile go the slow way, by copies.
  if (count == 2 && (m & 3) == 0) {
    fewVariances<S, C>(context, offset, b, m, false)
    return
  }
  if (count == 3 && (m & 3) == 0) {
    fewVariances<S, C>(context, offset, b, m, true)
    return
  }
  const n = f64x2.splat(<f64>count)
  const size = ((m + 3) & ~3) << 3
  for (let i: usize = 0; i < count; i++) {
    const last = i == count - 1
    let x = block<S>(input(context, i) + offset, m)
    for (let j: usize = 0, origin = b; j < size; j += 32, x += four, origin += four) {
      let s0 = wide<S, C>(x, origin, false), s1 = wide<S, C>(x, origin, true)
      if (i > 0) {
        s0 = f64x2.add(v128.load(MEANS + j), s0)
        s1 = f64x2.add(v128.load(MEANS + j, 16), s1)
      }
      v128.store(MEANS + j, last ? f64x2.div(s0, n) : s0)
      v128.store(MEANS + j, last ? f64x2.div(s1, n) : s1, 16)
    }
  }
  for (let i: usize = 0; i < count; i++) {
    let x = block<S>(input(context, i) + offset, m)
    for (let j: usize = 0, origin = b; j < size; j += 32, x += four, origin += four) {
      const d0 = f64x2.sub(wide<S, C>(x, origin, false), v128.load(MEANS + j))
      const d1 = f64x2.sub(wide<S, C>(x, origin, true), v128.load(MEANS + j, 16))
      let s0 = f64x2.mul(d0, d0), s1 = f64x2.mul(d1, d1)
      if (i > 0) {
        s0 = f64x2.add(v128.load(SQUARES + j), s0)
        s1 = f64x2.add(v128.load(SQUARES + j, 16), s1)
      }
      if (i == count - 1) v128.store(KEYS + (j >> 1), keysOf<f64>(f64x2.div(s0, n), f64x2.div(s1, n)))
      else {
        v128.store(SQUARES + j, s0)
        v128.store(SQUARES + j, s1, 16)
      }
    }
  }
}

// @ts-ignore: decorator
@inline
function element<C>(x: v128): C {
  return sizeof<C>() == 8 ? <C>f64x2.extract_lane(x, 0) : <C>f32x4.extract_lane(x, 0)
}

function importances<S, C>(context: usize, x: usize, b: usize, o: usize, m: usize): void {
  const length = <u64>rowLength(context), bytes = at<S>().bytes
  const start = first(context), firstRow = start / length
  let row = (start + o) / length, left = (row + 1) * length - (start + o)
  let factor = <C>load<f64>(table(context) + (<usize>(row - firstRow) << 3))
  for (let j: usize = 0; j < m; j++, x += bytes, b += bytes) {
    if (left == 0) {
      row++
      left = length
      factor = <C>load<f64>(table(context) + (<usize>(row - firstRow) << 3))
    }
    left--
    const d = minus1<C>(element<C>(at<S>().load1(x)), element<C>(at<S>().load1(b)))
    const bits = reinterpret<u32>(<f32>(abs<C>(d) * factor)) & 0x7fffffff
    store<u32>(KEYS + (j << 2), bits > 0x7f800000 ? 0x7fc00000 : bits)
  }
}

/** Masks of the elements of a block whose variance lies above the threshold, into KEPT. */
// @ts-ignore: decorator
@inline
export function keptByVariance<S, C>(context: usize, o: usize, m: usize, low: i32, lowCut: f64, kept: usize): void {
  keysOfBlock<S, C>(context, VARIANCE, 0, o, m)
  const cut = i32x4.splat(before(lowCut, first(context) + o, m)), threshold = i32x4.splat(low)
  let indices = i32x4(0, 1, 2, 3)
  for (let j: usize = 0; j < m << 2; j += 16) {
    const above = i32x4.add(threshold, i32x4.lt_s(indices, cut))
    v128.store(kept + j, i32x4.gt_s(v128.load(KEYS + j), above))
    indices = i32x4.add(indices, i32x4.splat(4))
  }
}
