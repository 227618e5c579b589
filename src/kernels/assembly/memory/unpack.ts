/**
 * Numbers from codes, for boxes of rows and columns: unpack_… write float32 codes, rows one after the other, and
 * scale_… subtract zero points and multiply by scales in place. `stride`: bytes from one row of codes to the next, or
 * from one row of scales to the next. Every product is rounded once.
 */
import { plane, store16 } from './nibbles'
import { F8_E4M3, at } from './storage'

/**
 * The upper halves of float32 hold all bits of E4M3. Subnormal numbers m · 2^-9 come from a table: their upper bytes, and
 * their lower ones.
 */
const SUBNORMAL_HIGH = memory.data<u8>([0, 0x3b, 0x3b, 0x3b, 0x3c, 0x3c, 0x3c, 0x3c, 0, 0, 0, 0, 0, 0, 0, 0])
const SUBNORMAL_LOW = memory.data<u8>([0, 0, 0x80, 0xc0, 0, 0x20, 0x40, 0x60, 0, 0, 0, 0, 0, 0, 0, 0])

export function unpack_F8_E4M3(src: usize, stride: usize, dst: usize, rows: usize, columns: usize): void {
  const high = v128.load(SUBNORMAL_HIGH), low = v128.load(SUBNORMAL_LOW)
  const zero = i8x16.splat(0)
  for (let row: usize = 0; row < rows; row++) {
    const blocks = dst + ((columns & ~15) << 2), end = dst + (columns << 2)
    let from = src
    while (dst < blocks) {
      const bytes = v128.load(from)
      const magnitude = v128.and(bytes, i8x16.splat(0x7f))
      const subnormal = i8x16.lt_u(magnitude, i8x16.splat(8))
      const nan = i8x16.eq(magnitude, i8x16.splat(0x7f))
      // The exponent and the first bit of the fraction, and the other two bits.
      let upper = i8x16.add(i8x16.shr_u(magnitude, 4), i8x16.splat(0x3c))
      let lower = i8x16.shl(magnitude, 4)
      upper = v128.bitselect(i8x16.swizzle(high, magnitude), upper, subnormal)
      lower = v128.bitselect(i8x16.swizzle(low, magnitude), lower, subnormal)
      upper = v128.or(v128.bitselect(i8x16.splat(0x7f), upper, nan), v128.and(bytes, i8x16.splat(-128)))
      lower = v128.bitselect(i8x16.splat(-64), lower, nan)
      const first = i8x16.shuffle(lower, upper, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23)
      const second = i8x16.shuffle(lower, upper, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31)
      v128.store(dst, i16x8.shuffle(zero, first, 0, 8, 1, 9, 2, 10, 3, 11))
      v128.store(dst, i16x8.shuffle(zero, first, 4, 12, 5, 13, 6, 14, 7, 15), 16)
      v128.store(dst, i16x8.shuffle(zero, second, 0, 8, 1, 9, 2, 10, 3, 11), 32)
      v128.store(dst, i16x8.shuffle(zero, second, 4, 12, 5, 13, 6, 14, 7, 15), 48)
      from += 16
      dst += 64
    }
    while (dst < end) {
      v128.store32_lane(dst, at<F8_E4M3>().load1(from), 0)
      from++
      dst += 4
    }
    src += stride
  }
}

/** Bytes: signed, or unsigned. */
function unpackBytes(src: usize, stride: usize, dst: usize, rows: usize, columns: usize, signed: bool): void {
  for (let row: usize = 0; row < rows; row++) {
    const blocks = dst + ((columns & ~7) << 2), end = dst + (columns << 2)
    let from = src
    while (dst < blocks) {
      const wide = signed ? v128.load8x8_s(from) : v128.load8x8_u(from)
      const low = signed ? i32x4.extend_low_i16x8_s(wide) : i32x4.extend_low_i16x8_u(wide)
      const high = signed ? i32x4.extend_high_i16x8_s(wide) : i32x4.extend_high_i16x8_u(wide)
      v128.store(dst, f32x4.convert_i32x4_s(low))
      v128.store(dst, f32x4.convert_i32x4_s(high), 16)
      from += 8
      dst += 32
    }
    while (dst < end) {
      store<f32>(dst, signed ? <f32>load<i8>(from) : <f32>load<u8>(from))
      from++
      dst += 4
    }
    src += stride
  }
}

export function unpack_I8(src: usize, stride: usize, dst: usize, rows: usize, columns: usize): void {
  unpackBytes(src, stride, dst, rows, columns, true)
}

export function unpack_U8(src: usize, stride: usize, dst: usize, rows: usize, columns: usize): void {
  unpackBytes(src, stride, dst, rows, columns, false)
}

/** Powers of 2: byte b is 2^(b − 127). 2^-127 is a subnormal number, and 255 is NaN. */
export function unpack_F8_E8M0(src: usize, stride: usize, dst: usize, rows: usize, columns: usize): void {
  for (let row: usize = 0; row < rows; row++) {
    const blocks = dst + ((columns & ~7) << 2), end = dst + (columns << 2)
    let from = src
    while (dst < blocks) {
      const wide = v128.load8x8_u(from)
      v128.store(dst, powers(i32x4.extend_low_i16x8_u(wide)))
      v128.store(dst, powers(i32x4.extend_high_i16x8_u(wide)), 16)
      from += 8
      dst += 32
    }
    while (dst < end) {
      v128.store32_lane(dst, powers(i32x4.splat(load<u8>(from))), 0)
      from++
      dst += 4
    }
    src += stride
  }
}

// @ts-ignore: decorator
@inline
function powers(bytes: v128): v128 {
  const normal = i32x4.shl(bytes, 23)
  const positive = v128.bitselect(i32x4.splat(0x00400000), normal, i32x4.eq(bytes, i32x4.splat(0)))
  return v128.bitselect(i32x4.splat(0x7fc00000), positive, i32x4.eq(bytes, i32x4.splat(255)))
}

/**
 * Halves of bytes through a table of 16 float32 numbers. `skip`: 1 if the first number is the second half of its byte.
 * `high`: 1 if the upper half comes first.
 */
export function unpack_nibbles(
  src: usize,
  stride: usize,
  dst: usize,
  rows: usize,
  columns: usize,
  skip: usize,
  high: usize,
  table: usize,
): void {
  const p0 = plane(table, 0), p1 = plane(table, 1), p2 = plane(table, 2), p3 = plane(table, 3)
  const mask = i8x16.splat(15)
  for (let row: usize = 0; row < rows; row++) {
    const end = dst + (columns << 2)
    let place = skip
    if (place === 1 && dst < end) {
      store<f32>(dst, load<f32>(table + (half(src, 1, high) << 2)))
      place = 2
      dst += 4
    }
    let from = src + (place >> 1)
    while (dst + 128 <= end) {
      const bytes = v128.load(from)
      const lower = v128.and(bytes, mask), upper = i8x16.shr_u(bytes, 4)
      const a = high !== 0 ? upper : lower, b = high !== 0 ? lower : upper
      store16(dst, i8x16.shuffle(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23), p0, p1, p2, p3, false)
      store16(dst + 64, i8x16.shuffle(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31), p0, p1, p2, p3, false)
      from += 16
      dst += 128
    }
    for (let rest: usize = 0; dst < end; rest++) {
      store<f32>(dst, load<f32>(table + (half(from, rest, high) << 2)))
      dst += 4
    }
    src += stride
  }
}

// @ts-ignore: decorator
@inline
function half(bytes: usize, index: usize, high: usize): usize {
  const byte = <usize>load<u8>(bytes + (index >> 1))
  return ((index & 1) ^ high) === 1 ? byte >> 4 : byte & 15
}

/** Fields of words, the lowest bits first: those from field `first` of each row. `perWord`: 0 if fields cross words. */
export function unpack_fields(
  src: usize,
  stride: usize,
  dst: usize,
  rows: usize,
  columns: usize,
  first: usize,
  bits: usize,
  perWord: usize,
): void {
  const mask: u64 = (<u64>1 << bits) - 1
  for (let row: usize = 0; row < rows; row++) {
    for (let i = first; i < first + columns; i++) {
      const bit = perWord === 0 ? i * bits : (i / perWord) * 32 + (i % perWord) * bits
      const word = src + ((bit >> 5) << 2)
      const inside = bit & 31
      // The second word is read only where the field reaches into it: it may lie behind the last one.
      const upper = inside + bits > 32 ? <u64>load<u32>(word + 4) << 32 : 0
      store<f32>(dst, <f32>((((<u64>load<u32>(word)) | upper) >> inside) & mask))
      dst += 4
    }
    src += stride
  }
}

/** The same field of each word of a row. */
export function unpack_across(src: usize, dst: usize, columns: usize, shift: u32, bits: u32): void {
  const mask = (<u32>1 << bits) - 1
  const blocks = dst + ((columns & ~3) << 2), end = dst + (columns << 2)
  const masks = i32x4.splat(mask)
  while (dst < blocks) {
    v128.store(dst, f32x4.convert_i32x4_s(v128.and(i32x4.shr_u(v128.load(src), shift), masks)))
    src += 16
    dst += 16
  }
  while (dst < end) {
    store<f32>(dst, <f32>((load<u32>(src) >> shift) & mask))
    src += 4
    dst += 4
  }
}

/**
 * x = (x − zero) · scale. Columns from `first` of a row share a scale in runs of `run`. `zeros`: 0 for none; rows of
 * zero points are as far apart as rows of scales.
 */
export function scale_runs(
  x: usize,
  rows: usize,
  columns: usize,
  scales: usize,
  zeros: usize,
  stride: usize,
  first: usize,
  run: usize,
): void {
  for (let row: usize = 0; row < rows; row++) {
    const end = x + (columns << 2)
    let scale = scales, zero = zeros
    let next = x + ((run - first) << 2)
    while (x < end) {
      const stop = next < end ? next : end
      const s = load<f32>(scale)
      if (zeros !== 0) {
        const z = load<f32>(zero)
        x = runOf(x, stop, f32x4.splat(s), f32x4.splat(z), s, z, true)
        zero += 4
      } else x = runOf(x, stop, f32x4.splat(s), f32x4.splat(0), s, 0, false)
      scale += 4
      next = stop + (run << 2)
    }
    scales += stride
    if (zeros !== 0) zeros += stride
  }
}

// @ts-ignore: decorator
@inline
function runOf(x: usize, stop: usize, scales: v128, zeros: v128, s: f32, z: f32, shifted: bool): usize {
  while (x + 16 <= stop) {
    const value = v128.load(x)
    v128.store(x, f32x4.mul(shifted ? f32x4.sub(value, zeros) : value, scales))
    x += 16
  }
  while (x < stop) {
    const value = load<f32>(x)
    store<f32>(x, (shifted ? value - z : value) * s)
    x += 4
  }
  return x
}

/** x · factor, or x / factor if `over` is 1. */
export function scale_all(x: usize, n: usize, factor: f32, over: u32): void {
  const blocks = x + ((n & ~3) << 2), end = x + (n << 2)
  const factors = f32x4.splat(factor)
  while (x < blocks) {
    const value = v128.load(x)
    v128.store(x, over !== 0 ? f32x4.div(value, factors) : f32x4.mul(value, factors))
    x += 16
  }
  while (x < end) {
    const value = load<f32>(x)
    store<f32>(x, over !== 0 ? value / factor : value * factor)
    x += 4
  }
}

/** x + plus. Returns the index of the first number that is `refused`, or n. */
export function add_all(x: usize, n: usize, plus: f32, refused: f32): usize {
  for (let i: usize = 0; i < n; i++) {
    const value = load<f32>(x + (i << 2))
    if (value === refused) return i
    store<f32>(x + (i << 2), value + plus)
  }
  return n
}

/** The same with a scale for each column. */
export function scale_each(
  x: usize,
  rows: usize,
  columns: usize,
  scales: usize,
  zeros: usize,
  stride: usize,
): void {
  for (let row: usize = 0; row < rows; row++) {
    for (let column: usize = 0; column < columns; column++) {
      const at = column << 2
      const value = load<f32>(x)
      store<f32>(x, (zeros !== 0 ? value - load<f32>(zeros + at) : value) * load<f32>(scales + at))
      x += 4
    }
    scales += stride
    if (zeros !== 0) zeros += stride
  }
}

/** The same where `groups` (i32) has the scale of each column. */
export function scale_mapped(
  x: usize,
  rows: usize,
  columns: usize,
  scales: usize,
  zeros: usize,
  stride: usize,
  groups: usize,
): void {
  for (let row: usize = 0; row < rows; row++) {
    for (let column: usize = 0; column < columns; column++) {
      const at = <usize>load<u32>(groups + (column << 2)) << 2
      const value = load<f32>(x)
      store<f32>(x, (zeros !== 0 ? value - load<f32>(zeros + at) : value) * load<f32>(scales + at))
      x += 4
    }
    scales += stride
    if (zeros !== 0) zeros += stride
  }
}
