/**
 * Finding the key at a position of the ranking without sorting, by counts over keys (see keys.ts for what they are of).
 *
 * coarse: coefficients: how many models, their indexes. For each 2 × 2^15 counts of key >> 16, of elements of even and of odd
 *         index: neighbours with equal keys would wait for each other. To be added. Of variances then how many keys are 0.
 * fine:   how many, then model, bucket (key >> 16) and table for each. Tables of 2^16 counts of key & 0xffff.
 * equals: how many, then model and key for each: sums are how many elements have that key.
 * nth:    model, key, wanted: on the tile where that many elements have the key, the first sum is the index after the last of them.
 */
import { BLOCK } from './block'
import { coefficients, first, sums } from '../memory/context'
import { DELTA, IMPORTANCE, KEYS, VARIANCE, keysOfBlock } from './keys'
import { count } from '../memory/lanes'
import { BF16, F16, F32, F64 } from '../memory/storage'

// @ts-ignore: decorator
@inline
function coarse<S, C>(context: usize, n: usize, source: i32): void {
  const list = coefficients(context), models = <usize>load<f64>(list)
  for (let o: usize = 0; o < n; o += BLOCK) {
    const m = min(BLOCK, n - o)
    for (let e: usize = 0; e < models; e++) {
      keysOfBlock<S, C>(context, source, <usize>load<f64>(list + (e << 3), 8), o, m)
      const even = sums(context) + (e << 18), odd = even + (1 << 17)
      const end = KEYS + (m << 2), pairs = KEYS + ((m & ~3) << 2)
      let p: usize = KEYS
      for (; p < pairs; p += 16) {
        // Two keys at a time, shifted to a count's offset.
        const low = load<u64>(p), high = load<u64>(p, 8)
        count(even + <usize>((low >> 14) & 0x1fffc))
        count(odd + <usize>((low >> 46) & 0x1fffc))
        count(even + <usize>((high >> 14) & 0x1fffc))
        count(odd + <usize>((high >> 46) & 0x1fffc))
      }
      for (; p < end; p += 4) count(even + ((load<u32>(p) >> 14) & 0x1fffc))
      if (source == VARIANCE) {
        const zeros = sums(context) + (models << 18)
        store<u32>(zeros, load<u32>(zeros) + equalKeys(0, m))
      }
    }
  }
}

// @ts-ignore: decorator
@inline
function fine<S, C>(context: usize, n: usize, source: i32): void {
  const list = coefficients(context), entries = <usize>load<f64>(list)
  for (let o: usize = 0; o < n; o += BLOCK) {
    const m = min(BLOCK, n - o)
    let done: usize = -1
    for (let e: usize = 0; e < entries; e++) {
      const entry = list + 8 + e * 24, model = <usize>load<f64>(entry)
      const bucket = <u32>load<f64>(entry, 8), counts = sums(context) + (<usize>load<f64>(entry, 16) << 18)
      if (model != done) keysOfBlock<S, C>(context, source, model, o, m)
      done = model
      const wanted = i32x4.splat(bucket), end = KEYS + (m << 2), blocks = KEYS + ((m & ~15) << 2)
      let p: usize = KEYS
      for (; p < blocks; p += 64) {
        const a = i32x4.eq(i32x4.shr_u(v128.load(p), 16), wanted)
        const b = i32x4.eq(i32x4.shr_u(v128.load(p, 16), 16), wanted)
        const c = i32x4.eq(i32x4.shr_u(v128.load(p, 32), 16), wanted)
        const d = i32x4.eq(i32x4.shr_u(v128.load(p, 48), 16), wanted)
        let mask = i8x16.bitmask(i8x16.narrow_i16x8_s(i16x8.narrow_i32x4_s(a, b), i16x8.narrow_i32x4_s(c, d)))
        while (mask != 0) {
          count(counts + (<usize>(load<u32>(p + (<usize>ctz(mask) << 2)) & 0xffff) << 2))
          mask &= mask - 1
        }
      }
      for (; p < end; p += 4) {
        const key = load<u32>(p)
        if (key >> 16 == bucket) count(counts + (<usize>(key & 0xffff) << 2))
      }
    }
  }
}

/** How many of m keys equal one. */
// @ts-ignore: decorator
@inline
function equalKeys(key: i32, m: usize): u32 {
  const wanted = i32x4.splat(key), blocks = KEYS + ((m & ~3) << 2), end = KEYS + (m << 2)
  let found = i32x4.splat(0), rest: u32 = 0
  let p: usize = KEYS
  for (; p < blocks; p += 16) found = i32x4.sub(found, i32x4.eq(v128.load(p), wanted))
  for (; p < end; p += 4) rest += u32(load<i32>(p) == key)
  return (
    rest + i32x4.extract_lane(found, 0) + i32x4.extract_lane(found, 1) +
    i32x4.extract_lane(found, 2) + i32x4.extract_lane(found, 3)
  )
}

// @ts-ignore: decorator
@inline
function equals<S, C>(context: usize, n: usize, source: i32): void {
  const list = coefficients(context), entries = <usize>load<f64>(list), out = sums(context)
  for (let o: usize = 0; o < n; o += BLOCK) {
    const m = min(BLOCK, n - o)
    for (let e: usize = 0; e < entries; e++) {
      const entry = list + 8 + (e << 4), key = <i32>load<f64>(entry, 8)
      if (key < 0) continue
      keysOfBlock<S, C>(context, source, <usize>load<f64>(entry), o, m)
      store<f64>(out + (e << 3), load<f64>(out + (e << 3)) + <f64>equalKeys(key, m))
    }
  }
}

/** The second sum counts what was seen before this call. */
// @ts-ignore: decorator
@inline
function nth<S, C>(context: usize, n: usize, source: i32): void {
  const list = coefficients(context), out = sums(context)
  const key = <i32>load<f64>(list, 8), wanted = load<f64>(list, 16)
  for (let o: usize = 0; o < n; o += BLOCK) {
    const m = min(BLOCK, n - o)
    let seen = load<f64>(out, 8)
    if (seen >= wanted) return
    keysOfBlock<S, C>(context, source, <usize>load<f64>(list), o, m)
    for (let j: usize = 0; j < m && seen < wanted; j++) {
      if (load<i32>(KEYS + (j << 2)) != key) continue
      seen += 1
      if (seen == wanted) store<f64>(out, <f64>(first(context) + o + j + 1))
    }
    store<f64>(out, seen, 8)
  }
}

export function coarse_f32(context: usize, n: usize): void { coarse<F32, f32>(context, n, DELTA) }
export function coarse_f64(context: usize, n: usize): void { coarse<F64, f64>(context, n, DELTA) }
export function coarse_F16(context: usize, n: usize): void { coarse<F16, f32>(context, n, DELTA) }
export function coarse_BF16(context: usize, n: usize): void { coarse<BF16, f32>(context, n, DELTA) }
export function fine_f32(context: usize, n: usize): void { fine<F32, f32>(context, n, DELTA) }
export function fine_f64(context: usize, n: usize): void { fine<F64, f64>(context, n, DELTA) }
export function fine_F16(context: usize, n: usize): void { fine<F16, f32>(context, n, DELTA) }
export function fine_BF16(context: usize, n: usize): void { fine<BF16, f32>(context, n, DELTA) }
export function equals_f32(context: usize, n: usize): void { equals<F32, f32>(context, n, DELTA) }
export function equals_f64(context: usize, n: usize): void { equals<F64, f64>(context, n, DELTA) }
export function equals_F16(context: usize, n: usize): void { equals<F16, f32>(context, n, DELTA) }
export function equals_BF16(context: usize, n: usize): void { equals<BF16, f32>(context, n, DELTA) }
export function nth_f32(context: usize, n: usize): void { nth<F32, f32>(context, n, DELTA) }
export function nth_f64(context: usize, n: usize): void { nth<F64, f64>(context, n, DELTA) }

export function variance_coarse_f32(context: usize, n: usize): void { coarse<F32, f32>(context, n, VARIANCE) }
export function variance_coarse_f64(context: usize, n: usize): void { coarse<F64, f64>(context, n, VARIANCE) }
export function variance_coarse_BF16(context: usize, n: usize): void { coarse<BF16, f32>(context, n, VARIANCE) }
export function variance_fine_f32(context: usize, n: usize): void { fine<F32, f32>(context, n, VARIANCE) }
export function variance_fine_f64(context: usize, n: usize): void { fine<F64, f64>(context, n, VARIANCE) }
export function variance_fine_BF16(context: usize, n: usize): void { fine<BF16, f32>(context, n, VARIANCE) }
export function variance_equals_f32(context: usize, n: usize): void { equals<F32, f32>(context, n, VARIANCE) }
export function variance_equals_f64(context: usize, n: usize): void { equals<F64, f64>(context, n, VARIANCE) }
export function variance_equals_BF16(context: usize, n: usize): void { equals<BF16, f32>(context, n, VARIANCE) }
export function variance_nth_f32(context: usize, n: usize): void { nth<F32, f32>(context, n, VARIANCE) }
export function variance_nth_f64(context: usize, n: usize): void { nth<F64, f64>(context, n, VARIANCE) }

export function importance_coarse_f32(context: usize, n: usize): void { coarse<F32, f32>(context, n, IMPORTANCE) }
export function importance_coarse_f64(context: usize, n: usize): void { coarse<F64, f64>(context, n, IMPORTANCE) }
export function importance_fine_f32(context: usize, n: usize): void { fine<F32, f32>(context, n, IMPORTANCE) }
export function importance_fine_f64(context: usize, n: usize): void { fine<F64, f64>(context, n, IMPORTANCE) }
