/**
 * Sums over what sparsifying leaves, in float64 on the grid of reduce.ts: element i of a chunk goes to lane i mod 4, a
 * chunk's sum is (l0 + l2) + (l1 + l3).
 *
 * trimmed_l1, dropped_l1: sums Σ abs(δ) of every model, then Σ abs(δ) over kept elements of every model. Coefficients as those
 *          of the map kernels in sparse.ts; of elements at a threshold none is counted as kept.
 * sce_squares: Σ δ² of every model over elements that sce keeps; coefficients: low and lowCut of the variance's key.
 *          Four numbers a model more are room that is left 0.
 */
import { BLOCK, KEPT, WORDS, baseBlock, block, difference, keysOf } from './block'
import { base, coefficients, first, input, inputCount, sums } from '../memory/context'
import { entryOf } from './elect'
import { keptByVariance } from './keys'
import { addTo, total } from '../memory/lanes'
import { randomWords } from '../memory/random'
import { BF16, CHUNK, F16, F32, F64, at } from '../memory/storage'

const TRIMMED = 0
const DROPPED = 1

/** Lanes of the sums under way: 0 and 1, 2 and 3 of all elements, then of kept ones. */
const LANES = memory.data(64, 16)

// @ts-ignore: decorator
@inline
function addLanes(p: usize, x: v128): void { v128.store(p, f64x2.add(v128.load(p), x)) }

/** Adds four values, as f64, to the lanes at p. */
// @ts-ignore: decorator
@inline
function addFour<C>(p: usize, v0: v128, v1: v128): void {
  if (sizeof<C>() == 8) {
    addLanes(p, v0)
    addLanes(p + 16, v1)
  } else {
    addLanes(p, f64x2.promote_low_f32x4(v0))
    addLanes(p + 16, f64x2.promote_low_f32x4(v128.shuffle<u64>(v0, v0, 1, 1)))
  }
}

/** Masks of four i32 as masks of the first or second two values of f64. */
// @ts-ignore: decorator
@inline
function halfOf<C>(mask: v128, high: bool): v128 {
  if (sizeof<C>() == 4) return mask
  return high ? v128.shuffle<u32>(mask, mask, 2, 2, 3, 3) : v128.shuffle<u32>(mask, mask, 0, 0, 1, 1)
}

// @ts-ignore: decorator
@inline
function sumChunk<S, C>(context: usize, model: usize, from: usize, n: usize, what: i32): void {
  const list = coefficients(context), bytes = at<S>().bytes
  const entry = entryOf(list, model)
  const low = i32x4.splat(<i32>load<f64>(entry, 16)), high = i32x4.splat(<i32>load<f64>(entry, 32))
  const limit = i32x4.splat(<i32>ceil<f64>(load<f64>(entry, 48) * 16777216))
  memory.fill(LANES, 0, 64)
  for (let o = from; o < from + n; o += BLOCK) {
    const m = min(BLOCK, from + n - o)
    let b = baseBlock<S>(base(context) + o * bytes, m), x = block<S>(input(context, model) + o * bytes, m)
    let words = what == DROPPED ? randomWords(entry + 16, first(context) + o, m, WORDS) : WORDS
    let indices = i32x4(0, 1, 2, 3)
    const count = i32x4.splat(<i32>m), end = x + m * bytes
    for (; x < end; x += bytes << 2, b += bytes << 2, words += 16) {
      const d0 = difference<S, C>(x, b), d1 = sizeof<C>() == 8 ? difference<S, C>(x + 16, b + 16) : d0
      const valid = i32x4.lt_s(indices, count)
      indices = i32x4.add(indices, i32x4.splat(4))
      const a0 = v128.and(v128.abs<C>(d0), halfOf<C>(valid, false))
      const a1 = v128.and(v128.abs<C>(d1), halfOf<C>(valid, true))
      addFour<C>(LANES, a0, a1)
      let mask: v128
      if (what == DROPPED) mask = i32x4.lt_s(i32x4.shr_u(v128.load(words), 8), limit)
      else {
        const keys = keysOf<C>(d0, d1)
        mask = v128.and(i32x4.gt_s(keys, low), i32x4.lt_s(keys, high))
      }
      addFour<C>(LANES + 32, v128.and(a0, halfOf<C>(mask, false)), v128.and(a1, halfOf<C>(mask, true)))
    }
  }
  const out = sums(context) + (model << 3)
  addTo(out, total(v128.load(LANES), v128.load(LANES, 16)))
  addTo(out + (<usize>inputCount(context) << 3), total(v128.load(LANES, 32), v128.load(LANES, 48)))
}

// @ts-ignore: decorator
@inline
function sumSparse<S, C>(context: usize, n: usize, what: i32): void {
  const count = <usize>inputCount(context)
  for (let from: usize = 0; from < n; from += CHUNK)
    for (let model: usize = 0; model < count; model++)
      sumChunk<S, C>(context, model, from, min(CHUNK, n - from), what)
}

export function trimmed_l1_f32(context: usize, n: usize): void { sumSparse<F32, f32>(context, n, TRIMMED) }
export function trimmed_l1_f64(context: usize, n: usize): void { sumSparse<F64, f64>(context, n, TRIMMED) }
export function trimmed_l1_BF16(context: usize, n: usize): void { sumSparse<BF16, f32>(context, n, TRIMMED) }
export function dropped_l1_f32(context: usize, n: usize): void { sumSparse<F32, f32>(context, n, DROPPED) }
export function dropped_l1_f64(context: usize, n: usize): void { sumSparse<F64, f64>(context, n, DROPPED) }
export function dropped_l1_BF16(context: usize, n: usize): void { sumSparse<BF16, f32>(context, n, DROPPED) }
/** Squares of kept differences, all models block by block: what is kept is found once for all of them. */
// @ts-ignore: decorator
@inline
function squares<S, C>(context: usize, n: usize): void {
  const list = coefficients(context), count = <usize>inputCount(context), bytes = at<S>().bytes
  const low = <i32>load<f64>(list), lanes = sums(context) + (count << 3)
  for (let o: usize = 0; o < n; o += BLOCK) {
    const m = min(BLOCK, n - o), limit = i32x4.splat(<i32>m)
    if (low >= 0) keptByVariance<S, C>(context, o, m, low, load<f64>(list, 8), KEPT)
    const origin = baseBlock<S>(base(context) + o * bytes, m)
    for (let model: usize = 0; model < count; model++) {
      const lane = lanes + (model << 5)
      let x = block<S>(input(context, model) + o * bytes, m), b = origin, kept: usize = KEPT, indices = i32x4(0, 1, 2, 3)
      let l01 = v128.load(lane), l23 = v128.load(lane, 16)
      for (const end = x + m * bytes; x < end; x += bytes << 2, b += bytes << 2, kept += 16) {
        let mask = i32x4.lt_s(indices, limit)
        if (low >= 0) mask = v128.and(mask, v128.load(kept))
        const d0 = difference<S, C>(x, b), d1 = sizeof<C>() == 8 ? difference<S, C>(x + 16, b + 16) : d0
        const a = v128.and(d0, halfOf<C>(mask, false)), c = v128.and(d1, halfOf<C>(mask, true))
        const v0 = sizeof<C>() == 8 ? a : f64x2.promote_low_f32x4(a)
        const v1 = sizeof<C>() == 8 ? c : f64x2.promote_low_f32x4(v128.shuffle<u64>(a, a, 1, 1))
        l01 = f64x2.add(l01, f64x2.mul(v0, v0))
        l23 = f64x2.add(l23, f64x2.mul(v1, v1))
        indices = i32x4.add(indices, i32x4.splat(4))
      }
      // The lanes of a chunk under way wait behind the sums.
      const ends = o + m == n || (o + m) % CHUNK == 0
      if (ends) addTo(sums(context) + (model << 3), total(l01, l23))
      v128.store(lane, ends ? f64x2.splat(0) : l01)
      v128.store(lane, ends ? f64x2.splat(0) : l23, 16)
    }
  }
}

export function sce_squares_f32(context: usize, n: usize): void { squares<F32, f32>(context, n) }
export function sce_squares_f64(context: usize, n: usize): void { squares<F64, f64>(context, n) }
export function sce_squares_F16(context: usize, n: usize): void { squares<F16, f32>(context, n) }
export function sce_squares_BF16(context: usize, n: usize): void { squares<BF16, f32>(context, n) }
