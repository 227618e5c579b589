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
  // Four fields at once, if they lie in 32 bits from some byte on, one after the other.
  const four = perWord === 0 ? bits <= 6 : (perWord & 3) === 0 && (first & 3) === 0
  const whole = four ? columns & ~3 : 0
  const width = <i32>bits, top = 32 - width
  let powers = i32x4.splat(1 << top)
  powers = i32x4.replace_lane(powers, 1, 1 << (top - width))
  powers = i32x4.replace_lane(powers, 2, 1 << (top - 2 * width))
  powers = i32x4.replace_lane(powers, 3, 1 << (top - 3 * width))
  for (let row: usize = 0; row < rows; row++) {
    for (let i = first; i < first + whole; i += 4) {
      const bit = perWord === 0 ? i * bits : (i / perWord) * 32 + (i % perWord) * bits
      const window = load<u32>(src + (bit >> 3)) >> <u32>(bit & 7)
      v128.store(dst, f32x4.convert_i32x4_s(i32x4.shr_u(i32x4.mul(i32x4.splat(window), powers), top)))
      dst += 16
    }
    for (let i = first + whole; i < first + columns; i++) {
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
  // Scales of four rows are neighbours: four rows and four columns at once.
  const quads = stride === 4 ? rows & ~3 : 0
  for (let row: usize = 0; row < quads; row += 4) {
    if (zeros !== 0) mappedQuad(x, columns, scales, zeros, step, groups, true)
    else mappedQuad(x, columns, scales, 0, step, groups, false)
    x += columns << 4
    scales += 16
    if (zeros !== 0) zeros += 16
  }
  for (let row = quads; row < rows; row++) {
    mappedColumns(x, 0, columns, scales, zeros, step, groups)
    x += columns << 2
    scales += stride
    if (zeros !== 0) zeros += stride
  }
}

/** Columns of one row. */
function mappedColumns(
  x: usize,
  from: usize,
  columns: usize,
  scales: usize,
  zeros: usize,
  step: usize,
  groups: usize,
): void {
  for (let column = from; column < columns; column++) {
    const at = <usize>load<u32>(groups + (column << 2)) * step, to = x + (column << 2)
    const value = load<f32>(to)
    store<f32>(to, (zeros !== 0 ? value - load<f32>(zeros + at) : value) * load<f32>(scales + at))
  }
}

// @ts-ignore: decorator
@inline
function mappedQuad(
  x: usize,
  columns: usize,
  scales: usize,
  zeros: usize,
  step: usize,
  groups: usize,
  shifted: bool,
): void {
  const line = columns << 2, wide = columns & ~3
  for (let column: usize = 0; column < wide; column += 4) {
    const to = x + (column << 2), map = groups + (column << 2)
    const x0 = v128.load(to), x1 = v128.load(to + line), x2 = v128.load(to + 2 * line), x3 = v128.load(to + 3 * line)
    const y0 = i32x4.shuffle(x0, x1, 0, 4, 1, 5), y1 = i32x4.shuffle(x0, x1, 2, 6, 3, 7)
    const y2 = i32x4.shuffle(x2, x3, 0, 4, 1, 5), y3 = i32x4.shuffle(x2, x3, 2, 6, 3, 7)
    const a = mapped(i64x2.shuffle(y0, y2, 0, 2), <usize>load<u32>(map) * step, scales, zeros, shifted)
    const b = mapped(i64x2.shuffle(y0, y2, 1, 3), <usize>load<u32>(map, 4) * step, scales, zeros, shifted)
    const c = mapped(i64x2.shuffle(y1, y3, 0, 2), <usize>load<u32>(map, 8) * step, scales, zeros, shifted)
    const d = mapped(i64x2.shuffle(y1, y3, 1, 3), <usize>load<u32>(map, 12) * step, scales, zeros, shifted)
    const z0 = i32x4.shuffle(a, b, 0, 4, 1, 5), z1 = i32x4.shuffle(a, b, 2, 6, 3, 7)
    const z2 = i32x4.shuffle(c, d, 0, 4, 1, 5), z3 = i32x4.shuffle(c, d, 2, 6, 3, 7)
    v128.store(to, i64x2.shuffle(z0, z2, 0, 2))
    v128.store(to + line, i64x2.shuffle(z0, z2, 1, 3))
    v128.store(to + 2 * line, i64x2.shuffle(z1, z3, 0, 2))
    v128.store(to + 3 * line, i64x2.shuffle(z1, z3, 1, 3))
  }
  for (let row: usize = 0; row < 4; row++)
    mappedColumns(x + row * line, wide, columns, scales + (row << 2), shifted ? zeros + (row << 2) : 0, step, groups)
}

/** One column of four rows. */
// @ts-ignore: decorator
@inline
function mapped(x: v128, at: usize, scales: usize, zeros: usize, shifted: bool): v128 {
  return f32x4.mul(shifted ? f32x4.sub(x, v128.load(zeros + at)) : x, v128.load(scales + at))
}
