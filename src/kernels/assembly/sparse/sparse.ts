/**
 * Task vectors of which elements are dropped by magnitude or at random, then added up or under an elected sign:
 * `trimmed_sum`, `trimmed_elect`, `dropped_sum`, `dropped_elect`.
 *
 * Of each model, from the fourth coefficient on: c, w, then what decides on dropping. D = c·(x − b) where kept, else +0;
 * a model whose c is 0 in the compute type drops all.
 * trimmed: low, lowCut, high, highCut. Kept where key > low, or key = low and index < lowCut; and of these dropped where
 *          key > high, or key = high and index < highCut.
 * dropped: the stream's four words, then the probability, a float32. Kept where uniform < probability.
 * `scratch` has BLOCK elements of C a model.
 */
import { BLOCK, OUT, WORDS, baseBlock, before, block, difference, keysOf, storeBlock, storeMasked } from './block'
import { base, coefficients, first, input, inputCount, output, scratch } from '../memory/context'
import { combine, ELECT, entryOf, rounded, SUM } from './elect'
import { randomWords } from '../memory/random'
import { BF16, F16, F32, F64, at } from '../memory/storage'


function trimmed<S, C>(x: usize, b: usize, m: usize, index: u64, entry: usize, to: usize): void {
  const c = rounded<C>(entry), four = at<S>().bytes << 2
  const lowCut = before(load<f64>(entry, 24), index, m), highCut = before(load<f64>(entry, 40), index, m)
  const end = x + m * at<S>().bytes
  let low = <i32>load<f64>(entry, 16), high = <i32>load<f64>(entry, 32)
  if ((lowCut == 0 || lowCut == <i32>m) && (highCut == 0 || highCut == <i32>m)) {
    // Nearly always the cuts lie elsewhere: then the thresholds alone decide.
    const above = i32x4.splat(low - <i32>(lowCut != 0)), under = i32x4.splat(high - <i32>(highCut != 0))
    for (; x < end; x += four, b += four, to += sizeof<C>() << 2) {
      const d0 = difference<S, C>(x, b), d1 = sizeof<C>() == 8 ? difference<S, C>(x + 16, b + 16) : d0
      const keys = keysOf<C>(d0, d1)
      const kept = v128.andnot(i32x4.gt_s(keys, above), i32x4.gt_s(keys, under))
      storeMasked<C>(to, v128.mul<C>(c, d0), v128.mul<C>(c, d1), kept)
    }
    return
  }
  let indices = i32x4(0, 1, 2, 3)
  for (; x < end; x += four, b += four, to += sizeof<C>() << 2) {
    const d0 = difference<S, C>(x, b), d1 = sizeof<C>() == 8 ? difference<S, C>(x + 16, b + 16) : d0
    const keys = keysOf<C>(d0, d1)
    const above = i32x4.add(i32x4.splat(low), i32x4.lt_s(indices, i32x4.splat(lowCut)))
    const under = i32x4.add(i32x4.splat(high), i32x4.lt_s(indices, i32x4.splat(highCut)))
    const kept = v128.andnot(i32x4.gt_s(keys, above), i32x4.gt_s(keys, under))
    storeMasked<C>(to, v128.mul<C>(c, d0), v128.mul<C>(c, d1), kept)
    indices = i32x4.add(indices, i32x4.splat(4))
  }
}

function dropped<S, C>(x: usize, b: usize, m: usize, index: u64, entry: usize, to: usize): void {
  const c = rounded<C>(entry), four = at<S>().bytes << 2
  const probability = load<f64>(entry, 48)
  // Words are whole numbers: under p · 2^24 is under the next whole number from there.
  const limit = i32x4.splat(<i32>ceil<f64>(probability * 16777216))
  let words = probability < 1 ? randomWords(entry + 16, index, m, WORDS) : WORDS
  const end = x + m * at<S>().bytes
  if (probability >= 1) {
    const all = i32x4.splat(-1)
    for (; x < end; x += four, b += four, to += sizeof<C>() << 2) {
      const d0 = difference<S, C>(x, b), d1 = sizeof<C>() == 8 ? difference<S, C>(x + 16, b + 16) : d0
      storeMasked<C>(to, v128.mul<C>(c, d0), v128.mul<C>(c, d1), all)
    }
    return
  }
  for (; x < end; x += four, b += four, to += sizeof<C>() << 2, words += 16) {
    const d0 = difference<S, C>(x, b), d1 = sizeof<C>() == 8 ? difference<S, C>(x + 16, b + 16) : d0
    const kept = i32x4.lt_s(i32x4.shr_u(v128.load(words), 8), limit)
    storeMasked<C>(to, v128.mul<C>(c, d0), v128.mul<C>(c, d1), kept)
  }
}

// @ts-ignore: decorator
@inline
function sparse<S, C>(context: usize, n: usize, random: bool, how: i32): void {
  const list = coefficients(context), count = <usize>inputCount(context), bytes = at<S>().bytes
  const parts = scratch(context), stride = BLOCK * sizeof<C>()
  for (let o: usize = 0; o < n; o += BLOCK) {
    const m = min(BLOCK, n - o), b = baseBlock<S>(base(context) + o * bytes, m)
    for (let i: usize = 0; i < count; i++) {
      const entry = entryOf(list, i), to = parts + i * stride
      if (<C>load<f64>(entry) == 0) {
        memory.fill(to, 0, stride)
        continue
      }
      const x = block<S>(input(context, i) + o * bytes, m)
      if (random) dropped<S, C>(x, b, m, first(context) + o, entry, to)
      else trimmed<S, C>(x, b, m, first(context) + o, entry, to)
    }
    combine<S, C>(b, parts, stride, count, list, m, OUT, how)
    storeBlock<S, C>(OUT, output(context) + o * bytes, m)
  }
}

export function trimmed_sum_f32(context: usize, n: usize): void { sparse<F32, f32>(context, n, false, SUM) }
export function trimmed_sum_f64(context: usize, n: usize): void { sparse<F64, f64>(context, n, false, SUM) }
export function trimmed_sum_F16(context: usize, n: usize): void { sparse<F16, f32>(context, n, false, SUM) }
export function trimmed_sum_BF16(context: usize, n: usize): void { sparse<BF16, f32>(context, n, false, SUM) }
export function trimmed_elect_f32(context: usize, n: usize): void { sparse<F32, f32>(context, n, false, ELECT) }
export function trimmed_elect_f64(context: usize, n: usize): void { sparse<F64, f64>(context, n, false, ELECT) }
export function trimmed_elect_F16(context: usize, n: usize): void { sparse<F16, f32>(context, n, false, ELECT) }
export function trimmed_elect_BF16(context: usize, n: usize): void { sparse<BF16, f32>(context, n, false, ELECT) }
export function dropped_sum_f32(context: usize, n: usize): void { sparse<F32, f32>(context, n, true, SUM) }
export function dropped_sum_f64(context: usize, n: usize): void { sparse<F64, f64>(context, n, true, SUM) }
export function dropped_sum_F16(context: usize, n: usize): void { sparse<F16, f32>(context, n, true, SUM) }
export function dropped_sum_BF16(context: usize, n: usize): void { sparse<BF16, f32>(context, n, true, SUM) }
export function dropped_elect_f32(context: usize, n: usize): void { sparse<F32, f32>(context, n, true, ELECT) }
export function dropped_elect_f64(context: usize, n: usize): void { sparse<F64, f64>(context, n, true, ELECT) }
export function dropped_elect_F16(context: usize, n: usize): void { sparse<F16, f32>(context, n, true, ELECT) }
export function dropped_elect_BF16(context: usize, n: usize): void { sparse<BF16, f32>(context, n, true, ELECT) }
