/**
 * Parts of decoded numbers: scales and zero points as float32, codes that `decode.ts` does not know, and scales for
 * these. `stride`: bytes from one row of codes to the next, or from one row of scales to the next, and `step`: from one
 * scale of a row to the next. Every product is rounded once.
 */

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
  for (let i: usize = 0; i < columns; i++) store<f32>(dst + (i << 2), <f32>((load<u32>(src + (i << 2)) >> shift) & mask))
}

/**
 * Fields of a row of words as float32, plus `plus`: field f, from `first` on, is bits `bits · f` on of the whole row, or of
 * word f div `perWord` field `order[f mod perWord]` (`order`: bytes; 0 for fields in order). Returns the index of the first
 * one that is `refused` without `plus`, or n.
 */
export function unpack_line(
  src: usize, dst: usize, n: usize, first: usize, bits: usize, perWord: usize, order: usize, plus: f32, refused: f32,
): usize {
  const mask: u64 = (<u64>1 << bits) - 1
  for (let f = first; f < first + n; f++) {
    const inWord: usize = perWord === 0 ? 0 : f % perWord
    const place: usize = order === 0 || perWord === 0 ? inWord : <usize>load<u8>(order + inWord)
    const bit = perWord === 0 ? f * bits : (f / perWord) * 32 + place * bits
    const word = src + ((bit >> 5) << 2), inside = bit & 31
    const upper = inside + bits > 32 ? <u64>load<u32>(word + 4) << 32 : 0
    const x = <f32>((((<u64>load<u32>(word)) | upper) >> inside) & mask)
    if (x === refused) return f - first
    store<f32>(dst, x + plus)
    dst += 4
  }
  return n
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
  step: usize,
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
        zero += step
      } else x = runOf(x, stop, f32x4.splat(s), f32x4.splat(0), s, 0, false)
      scale += step
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
  step: usize,
): void {
  for (let row: usize = 0; row < rows; row++) {
    for (let column: usize = 0; column < columns; column++) {
      const at = column * step
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
  step: usize,
  groups: usize,
): void {
  for (let row: usize = 0; row < rows; row++) {
    for (let column: usize = 0; column < columns; column++) {
      const at = <usize>load<u32>(groups + (column << 2)) * step
      const value = load<f32>(x)
      store<f32>(x, (zeros !== 0 ? value - load<f32>(zeros + at) : value) * load<f32>(scales + at))
      x += 4
    }
    scales += stride
    if (zeros !== 0) zeros += stride
  }
}
