/**
 * Between stored dtypes and the compute types. `decode_<dtype>_<compute>` and `encode_<compute>_<dtype>`
 * take (source, destination, elements), unaligned. Widening is exact; narrowing rounds once, to nearest even,
 * overflows to infinity and keeps subnormals. Decoding leaves the bits of a NaN open, encoding makes them canonical.
 */
import { BF16, F16, F32, F64, F8_E4M3, F8_E5M2, at, encode32, narrow, narrowToOdd } from './storage'

function widen32<S>(src: usize, dst: usize, n: usize): void {
  const bytes = at<S>().bytes
  const blocks = dst + ((n & ~3) << 2), end = dst + (n << 2)
  while (dst < blocks) {
    v128.store(dst, at<S>().load(src))
    src += 4 * bytes
    dst += 16
  }
  while (dst < end) {
    v128.store32_lane(dst, at<S>().load1(src), 0)
    src += bytes
    dst += 4
  }
}

function widen64<S>(src: usize, dst: usize, n: usize): void {
  const bytes = at<S>().bytes
  const blocks = dst + ((n & ~3) << 3), end = dst + (n << 3)
  while (dst < blocks) {
    const x = at<S>().load(src)
    v128.store(dst, f64x2.promote_low_f32x4(x))
    v128.store(dst, f64x2.promote_low_f32x4(v128.shuffle<u64>(x, x, 1, 1)), 16)
    src += 4 * bytes
    dst += 32
  }
  while (dst < end) {
    v128.store64_lane(dst, f64x2.promote_low_f32x4(at<S>().load1(src)), 0)
    src += bytes
    dst += 8
  }
}

/** Through f32; S is not F64. */
function encode64<S>(src: usize, dst: usize, n: usize, odd: bool): void {
  const bytes = at<S>().bytes
  const blocks = src + ((n & ~7) << 3), end = src + (n << 3)
  while (src < blocks) {
    const a = v128.load(src), b = v128.load(src, 16), c = v128.load(src, 32), d = v128.load(src, 48)
    at<S>().store2(dst, odd ? narrowToOdd(a, b) : narrow(a, b), odd ? narrowToOdd(c, d) : narrow(c, d))
    src += 64
    dst += 8 * bytes
  }
  while (src < end) {
    const a = v128.load64_zero(src)
    at<S>().store1(dst, odd ? narrowToOdd(a, a) : narrow(a, a))
    src += 8
    dst += bytes
  }
}

export function decode_F32_f32(src: usize, dst: usize, n: usize): void { memory.copy(dst, src, n << 2) }
export function decode_F16_f32(src: usize, dst: usize, n: usize): void { widen32<F16>(src, dst, n) }
export function decode_BF16_f32(src: usize, dst: usize, n: usize): void { widen32<BF16>(src, dst, n) }
export function decode_F8_E4M3_f32(src: usize, dst: usize, n: usize): void { widen32<F8_E4M3>(src, dst, n) }
export function decode_F8_E5M2_f32(src: usize, dst: usize, n: usize): void { widen32<F8_E5M2>(src, dst, n) }
/** The one narrowing decode: computing in float32 rounds float64 inputs, to nearest even. */
export function decode_F64_f32(src: usize, dst: usize, n: usize): void { encode64<F32>(src, dst, n, false) }

export function decode_F64_f64(src: usize, dst: usize, n: usize): void { memory.copy(dst, src, n << 3) }
export function decode_F32_f64(src: usize, dst: usize, n: usize): void { widen64<F32>(src, dst, n) }
export function decode_F16_f64(src: usize, dst: usize, n: usize): void { widen64<F16>(src, dst, n) }
export function decode_BF16_f64(src: usize, dst: usize, n: usize): void { widen64<BF16>(src, dst, n) }
export function decode_F8_E4M3_f64(src: usize, dst: usize, n: usize): void { widen64<F8_E4M3>(src, dst, n) }
export function decode_F8_E5M2_f64(src: usize, dst: usize, n: usize): void { widen64<F8_E5M2>(src, dst, n) }

export function encode_f32_F32(src: usize, dst: usize, n: usize): void { encode32<F32>(src, dst, n) }
export function encode_f32_F16(src: usize, dst: usize, n: usize): void { encode32<F16>(src, dst, n) }
export function encode_f32_BF16(src: usize, dst: usize, n: usize): void { encode32<BF16>(src, dst, n) }
export function encode_f32_F64(src: usize, dst: usize, n: usize): void {
  const blocks = src + ((n & ~3) << 2), end = src + (n << 2)
  while (src < blocks) {
    const x = v128.load(src)
    at<F64>().store2(dst, f64x2.promote_low_f32x4(x), f64x2.promote_low_f32x4(v128.shuffle<u64>(x, x, 1, 1)))
    src += 16
    dst += 32
  }
  while (src < end) {
    at<F64>().store1(dst, f64x2.promote_low_f32x4(v128.load32_zero(src)))
    src += 4
    dst += 8
  }
}

export function encode_f64_F32(src: usize, dst: usize, n: usize): void { encode64<F32>(src, dst, n, false) }
export function encode_f64_F16(src: usize, dst: usize, n: usize): void { encode64<F16>(src, dst, n, true) }
export function encode_f64_BF16(src: usize, dst: usize, n: usize): void { encode64<BF16>(src, dst, n, true) }
export function encode_f64_F64(src: usize, dst: usize, n: usize): void {
  const blocks = src + ((n & ~3) << 3), end = src + (n << 3)
  while (src < blocks) {
    at<F64>().store2(dst, v128.load(src), v128.load(src, 16))
    src += 32
    dst += 32
  }
  while (src < end) {
    at<F64>().store1(dst, v128.load64_zero(src))
    src += 8
    dst += 8
  }
}

/** The bits of the nearest E4M3 number, ties to even. Beyond the largest one, and for NaN, the positive NaN. */
// @ts-ignore: decorator
@inline
function roundE4M3(x: f32): u8 {
  const bits = reinterpret<u32>(x)
  const magnitude = bits & 0x7fffffff
  const sign = (bits >> 24) & 0x80
  // Half way between the largest number and the next one, which would be 480: that half way is a tie to even.
  if (magnitude > 0x43e80000) return 0x7f
  // Below 2^-6, numbers are multiples of 2^-9.
  if (magnitude < 0x3c800000) return <u8>(sign | <u32>nearest<f32>(reinterpret<f32>(magnitude) * 512))
  const rounded = magnitude + 0x7ffff + ((magnitude >> 20) & 1)
  return <u8>(sign | ((rounded >> 20) - ((127 - 7) << 3)))
}

export function encode_f32_F8_E4M3(src: usize, dst: usize, n: usize): void {
  for (let i: usize = 0; i < n; i++) store<u8>(dst + i, roundE4M3(load<f32>(src + (i << 2))))
}

export function encode_f64_F8_E4M3(src: usize, dst: usize, n: usize): void {
  for (let i: usize = 0; i < n; i++) {
    const x = v128.load64_splat(src + (i << 3))
    store<u8>(dst + i, roundE4M3(f32x4.extract_lane(narrowToOdd(x, x), 0)))
  }
}
