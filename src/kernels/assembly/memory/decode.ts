/**
 * Numbers from codes in one go: (code − zero) · scale, rounded once, for boxes of rows and columns. Columns from `first`
 * of a run on share a scale with the others of their run, `run` columns each.
 *
 * `stride`: bytes from one row of codes to the next. `zeros`: 0 for none. Scales and zero points are float32: `line`
 * bytes from those of one row to those of the next, `step` bytes from one run to the next.
 */
// @ts-ignore: decorator
@inline
function low16(bytes: v128): v128 {
  return i16x8.shuffle(i8x16.splat(0), bytes, 0, 8, 1, 9, 2, 10, 3, 11)
}
// @ts-ignore: decorator
@inline
function high16(bytes: v128): v128 {
  return i16x8.shuffle(i8x16.splat(0), bytes, 4, 12, 5, 13, 6, 14, 7, 15)
}

/** Four numbers at an address: minus a zero point, times a scale. */
// @ts-ignore: decorator
@inline
function put(dst: usize, x: v128, scale: v128, zero: v128, shifted: bool): void {
  v128.store(dst, f32x4.mul(shifted ? f32x4.sub(x, zero) : x, scale))
}

type Kind = i32
/** E4M3, signed and unsigned bytes, and halves of bytes: the first one is the lower or the upper half. */
const E4M3: Kind = 0, SIGNED: Kind = 1, UNSIGNED: Kind = 2, LOWER: Kind = 3, UPPER: Kind = 4

/** Constants in memory, as in storage.ts. */
const MAGNITUDE = memory.data<u32>([0x7f7f7f7f])
const SPREAD = memory.data<u32>([0x87f087f0])
const HALF = memory.data<u32>([0x0f0f0f0f])

/** E4M3 bits as float32 lack a factor of 2^120, their exponents being 7 and 127 more than they are. */
const REBIAS: f32 = 1.329227995784916e36
/** Scales below this one can have that factor. */
const SMALL: f32 = 128

/** E4M3 numbers times 2^-120, as far as they are no NaN: 8 in the upper halves of their lanes, before the others. */
// @ts-ignore: decorator
@inline
function spreadE4M3(upper: v128, bits: v128): v128 { return v128.and(i16x8.shr_s(upper, 4), bits) }

/** Runs of E4M3, 16 numbers at once; `factor` has 2^120 in it, or `twice` is set. True if one was NaN. */
// @ts-ignore: decorator
@inline
function runE4M3(src: usize, dst: usize, end: usize, factor: v128, twice: bool): v128 {
  const rebias = f32x4.splat(REBIAS), zero = i8x16.splat(0)
  const magnitude = v128.load32_splat(MAGNITUDE), bits = v128.load32_splat(SPREAD)
  let nan = zero
  while (dst < end) {
    const bytes = v128.load(src)
    nan = v128.or(nan, i8x16.eq(v128.and(bytes, magnitude), magnitude))
    const a = spreadE4M3(i8x16.shuffle(zero, bytes, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23), bits)
    const b = spreadE4M3(i8x16.shuffle(zero, bytes, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31), bits)
    put(dst, twice ? f32x4.mul(low16(a), rebias) : low16(a), factor, zero, false)
    put(dst + 16, twice ? f32x4.mul(high16(a), rebias) : high16(a), factor, zero, false)
    put(dst + 32, twice ? f32x4.mul(low16(b), rebias) : low16(b), factor, zero, false)
    put(dst + 48, twice ? f32x4.mul(high16(b), rebias) : high16(b), factor, zero, false)
    src += 16
    dst += 64
  }
  return nan
}

// @ts-ignore: decorator
@inline
function runBytes(src: usize, dst: usize, end: usize, scale: v128, zero: v128, kind: Kind, shifted: bool): void {
  while (dst < end) {
    const bytes = v128.load(src)
    const a = kind == SIGNED ? i16x8.extend_low_i8x16_s(bytes) : i16x8.extend_low_i8x16_u(bytes)
    const b = kind == SIGNED ? i16x8.extend_high_i8x16_s(bytes) : i16x8.extend_high_i8x16_u(bytes)
    put(dst, f32x4.convert_i32x4_s(i32x4.extend_low_i16x8_s(a)), scale, zero, shifted)
    put(dst + 16, f32x4.convert_i32x4_s(i32x4.extend_high_i16x8_s(a)), scale, zero, shifted)
    put(dst + 32, f32x4.convert_i32x4_s(i32x4.extend_low_i16x8_s(b)), scale, zero, shifted)
    put(dst + 48, f32x4.convert_i32x4_s(i32x4.extend_high_i16x8_s(b)), scale, zero, shifted)
    src += 16
    dst += 64
  }
}

/** One byte as a float32 number without its scale. */
// @ts-ignore: decorator
@inline
function single(src: usize, kind: Kind): f32 {
  const byte = <u32>load<u8>(src)
  if (kind == SIGNED) return <f32>load<i8>(src)
  if (kind == UNSIGNED) return <f32>byte
  if ((byte & 0x7f) == 0x7f) return NaN
  return reinterpret<f32>(((byte & 0x7f) << 20) | ((byte >> 7) << 31)) * REBIAS
}

// @ts-ignore: decorator
@inline
function decodeBytes(
  src: usize, stride: usize, dst: usize, rows: usize, columns: usize, scales: usize, zeros: usize, line: usize,
  step: usize, first: usize, run: usize, kind: Kind, shifted: bool,
): void {
  for (let row: usize = 0; row < rows; row++) {
    let scale = scales, zero = zeros, from = src
    let length = run - first
    for (let left = columns; left > 0; ) {
      const n = min(left, length)
      const s = load<f32>(scale), z: f32 = shifted ? load<f32>(zero) : 0
      const whole = dst + ((n & ~15) << 2), end = dst + (n << 2)
      if (kind == E4M3) {
        const nan = abs<f32>(s) < SMALL
          ? runE4M3(from, dst, whole, f32x4.splat(s * REBIAS), false)
          : runE4M3(from, dst, whole, f32x4.splat(s), true)
        // All again, one after the other.
        if (!v128.any_true(nan)) {
          from += n & ~15
          dst = whole
        }
      } else {
        runBytes(from, dst, whole, f32x4.splat(s), f32x4.splat(z), kind, shifted)
        from += n & ~15
        dst = whole
      }
      for (; dst < end; dst += 4) {
        const x = single(from++, kind)
        store<f32>(dst, (shifted ? x - z : x) * s)
      }
      left -= n
      length = run
      scale += step
      if (shifted) zero += step
    }
    src += stride
    scales += line
    if (shifted) zeros += line
  }
}

export function decode_F8_E4M3(
  src: usize, stride: usize, dst: usize, rows: usize, columns: usize, scales: usize, zeros: usize, line: usize,
  step: usize, first: usize, run: usize,
): void {
  if (zeros == 0) decodeBytes(src, stride, dst, rows, columns, scales, 0, line, step, first, run, E4M3, false)
  else decodeOthers(src, stride, dst, rows, columns, scales, zeros, line, step, first, run)
}

/** E4M3 with zero points, which no library writes. */
function decodeOthers(
  src: usize, stride: usize, dst: usize, rows: usize, columns: usize, scales: usize, zeros: usize, line: usize,
  step: usize, first: usize, run: usize,
): void {
  for (let row: usize = 0; row < rows; row++) {
    for (let column: usize = 0; column < columns; column++) {
      const at = row * line + ((first + column) / run) * step
      store<f32>(dst, (single(src + column, E4M3) - load<f32>(zeros + at)) * load<f32>(scales + at))
      dst += 4
    }
    src += stride
  }
}

export function decode_I8(
  src: usize, stride: usize, dst: usize, rows: usize, columns: usize, scales: usize, zeros: usize, line: usize,
  step: usize, first: usize, run: usize,
): void {
  if (zeros == 0) decodeBytes(src, stride, dst, rows, columns, scales, 0, line, step, first, run, SIGNED, false)
  else decodeBytes(src, stride, dst, rows, columns, scales, zeros, line, step, first, run, SIGNED, true)
}

export function decode_U8(
  src: usize, stride: usize, dst: usize, rows: usize, columns: usize, scales: usize, zeros: usize, line: usize,
  step: usize, first: usize, run: usize,
): void {
  if (zeros == 0) decodeBytes(src, stride, dst, rows, columns, scales, 0, line, step, first, run, UNSIGNED, false)
  else decodeBytes(src, stride, dst, rows, columns, scales, zeros, line, step, first, run, UNSIGNED, true)
}

/** One byte of each of the table's 16 numbers. */
// @ts-ignore: decorator
@inline
function plane(table: usize, byte: usize): v128 {
  let bytes = i8x16.splat(0)
  const part = memory.data(16)
  for (let i: usize = 0; i < 16; i++) store<u8>(part + i, load<u8>(table + (i << 2) + byte))
  bytes = v128.load(part)
  return bytes
}

/** 16 numbers of a table by their indexes. `wide`: all bytes of its numbers count, not only the upper two. */
// @ts-ignore: decorator
@inline
function put16(
  dst: usize, index: v128, p0: v128, p1: v128, p2: v128, p3: v128, scale: v128, zero: v128, wide: bool, shifted: bool,
): void {
  const b2 = i8x16.swizzle(p2, index), b3 = i8x16.swizzle(p3, index)
  const a = i8x16.shuffle(b2, b3, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23)
  const b = i8x16.shuffle(b2, b3, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31)
  if (!wide) {
    put(dst, low16(a), scale, zero, shifted)
    put(dst + 16, high16(a), scale, zero, shifted)
    put(dst + 32, low16(b), scale, zero, shifted)
    put(dst + 48, high16(b), scale, zero, shifted)
    return
  }
  const b0 = i8x16.swizzle(p0, index), b1 = i8x16.swizzle(p1, index)
  const c = i8x16.shuffle(b0, b1, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23)
  const d = i8x16.shuffle(b0, b1, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31)
  put(dst, i16x8.shuffle(c, a, 0, 8, 1, 9, 2, 10, 3, 11), scale, zero, shifted)
  put(dst + 16, i16x8.shuffle(c, a, 4, 12, 5, 13, 6, 14, 7, 15), scale, zero, shifted)
  put(dst + 32, i16x8.shuffle(d, b, 0, 8, 1, 9, 2, 10, 3, 11), scale, zero, shifted)
  put(dst + 48, i16x8.shuffle(d, b, 4, 12, 5, 13, 6, 14, 7, 15), scale, zero, shifted)
}

// @ts-ignore: decorator
@inline
function halves(
  src: usize, stride: usize, dst: usize, rows: usize, columns: usize, skip: usize, table: usize, scales: usize,
  zeros: usize, line: usize, step: usize, first: usize, run: usize, kind: Kind, wide: bool, shifted: bool,
): void {
  const p0 = wide ? plane(table, 0) : i8x16.splat(0), p1 = wide ? plane(table, 1) : p0
  const p2 = plane(table, 2), p3 = plane(table, 3), mask = v128.load32_splat(HALF)
  for (let row: usize = 0; row < rows; row++) {
    let scale = scales, zero = zeros, length = run - first, place = skip
    for (let left = columns; left > 0; ) {
      const n = min(left, length), end = dst + (n << 2)
      const s = load<f32>(scale), z: f32 = shifted ? load<f32>(zero) : 0
      const ss = f32x4.splat(s), zz = f32x4.splat(z)
      if (place & 1) {
        store<f32>(dst, (load<f32>(table + (half(src, place, kind) << 2)) - z) * s)
        dst += 4
        place++
      }
      let from = src + (place >> 1)
      const begin = dst
      for (; dst + 128 <= end; dst += 128) {
        const bytes = v128.load(from)
        const lower = v128.and(bytes, mask), upper = v128.and(i16x8.shr_u(bytes, 4), mask)
        const a = kind == LOWER ? lower : upper, b = kind == LOWER ? upper : lower
        put16(dst, i8x16.shuffle(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23), p0, p1, p2, p3, ss, zz, wide, shifted)
        put16(dst + 64, i8x16.shuffle(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31), p0, p1, p2, p3, ss, zz, wide, shifted)
        from += 16
      }
      if (dst + 64 <= end) {
        const bytes = v128.load64_zero(from)
        const lower = v128.and(bytes, mask), upper = v128.and(i16x8.shr_u(bytes, 4), mask)
        const a = kind == LOWER ? lower : upper, b = kind == LOWER ? upper : lower
        put16(dst, i8x16.shuffle(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23), p0, p1, p2, p3, ss, zz, wide, shifted)
        dst += 64
      }
      place += (dst - begin) >> 2
      for (; dst < end; dst += 4) {
        const x = load<f32>(table + (half(src, place++, kind) << 2))
        store<f32>(dst, (shifted ? x - z : x) * s)
      }
      left -= n
      length = run
      scale += step
      if (shifted) zero += step
    }
    src += stride
    scales += line
    if (shifted) zeros += line
  }
}

// @ts-ignore: decorator
@inline
function half(bytes: usize, index: usize, kind: Kind): usize {
  const byte = <usize>load<u8>(bytes + (index >> 1))
  return ((index & 1) == 1) == (kind == LOWER) ? byte >> 4 : byte & 15
}

/** Whether numbers of a table have bits in their lower halves. */
function isWide(table: usize): bool {
  for (let i: usize = 0; i < 64; i += 4) if (load<u16>(table + i) != 0) return true
  return false
}

/**
 * Halves of bytes through a table of 16 float32 numbers. `skip`: 1 if the first number is the second half of its byte.
 * `high`: 1 if the upper half comes first.
 */
export function decode_nibbles(
  src: usize, stride: usize, dst: usize, rows: usize, columns: usize, scales: usize, zeros: usize, line: usize,
  step: usize, first: usize, run: usize, skip: usize, high: usize, table: usize,
): void {
  const wide = isWide(table)
  if (zeros != 0) {
    if (high) halves(src, stride, dst, rows, columns, skip, table, scales, zeros, line, step, first, run, UPPER, true, true)
    else if (wide) halves(src, stride, dst, rows, columns, skip, table, scales, zeros, line, step, first, run, LOWER, true, true)
    else halves(src, stride, dst, rows, columns, skip, table, scales, zeros, line, step, first, run, LOWER, false, true)
  } else if (high) halves(src, stride, dst, rows, columns, skip, table, scales, 0, line, step, first, run, UPPER, true, false)
  else if (wide) halves(src, stride, dst, rows, columns, skip, table, scales, 0, line, step, first, run, LOWER, true, false)
  else halves(src, stride, dst, rows, columns, skip, table, scales, 0, line, step, first, run, LOWER, false, false)
}

// @ts-ignore: decorator
@inline
function fieldsOf(words: v128, shift: u32, mask: v128): v128 {
  return f32x4.convert_i32x4_s(v128.and(i32x4.shr_u(words, shift), mask))
}

// @ts-ignore: decorator
@inline
function across(
  src: usize, stride: usize, dst: usize, rows: usize, columns: usize, scales: usize, zeros: usize, line: usize,
  step: usize, first: usize, run: usize, at: usize, order: usize, n: usize, bits: u32, shifted: bool,
): void {
  const most: u32 = (<u32>1 << bits) - 1, mask = i32x4.splat(most)
  for (let row: usize = 0; row < rows; row++) {
    const shift = <u32>load<u8>(order + (at + row) % n) * bits
    let from = src + (at + row) / n * stride
    let scale = scales, zero = zeros, length = run - first
    for (let left = columns; left > 0; ) {
      const count = min(left, length), end = dst + (count << 2)
      const s = load<f32>(scale), z: f32 = shifted ? load<f32>(zero) : 0
      const ss = f32x4.splat(s), zz = f32x4.splat(z)
      for (; dst + 32 <= end; dst += 32) {
        put(dst, fieldsOf(v128.load(from), shift, mask), ss, zz, shifted)
        put(dst + 16, fieldsOf(v128.load(from, 16), shift, mask), ss, zz, shifted)
        from += 32
      }
      for (; dst < end; dst += 4) {
        const x = <f32>((load<u32>(from) >> shift) & most)
        store<f32>(dst, (shifted ? x - z : x) * s)
        from += 4
      }
      left -= count
      length = run
      scale += step
      if (shifted) zero += step
    }
    scales += line
    if (shifted) zeros += line
  }
}

/**
 * Fields of words across the rows: row r is field `order[(at + r) mod n]` of the words of row (at + r) div n, which are
 * `stride` bytes apart. `order`: n bytes. At most 16 bits.
 */
export function decode_across(
  src: usize, stride: usize, dst: usize, rows: usize, columns: usize, scales: usize, zeros: usize, line: usize,
  step: usize, first: usize, run: usize, at: usize, order: usize, n: usize, bits: u32,
): void {
  if (zeros == 0) across(src, stride, dst, rows, columns, scales, 0, line, step, first, run, at, order, n, bits, false)
  else across(src, stride, dst, rows, columns, scales, zeros, line, step, first, run, at, order, n, bits, true)
}

/**
 * Rows of bytes whose halves are numbers of two rows: row r of the result has the lower halves (r even) or the upper ones
 * (odd) of row r div 2, through a table, each times the scale of its own column. The upper two bytes of the table's
 * numbers count. `odd`: 1 if the first row has upper halves.
 */
export function decode_paired(
  src: usize, stride: usize, dst: usize, rows: usize, columns: usize, scales: usize, odd: usize, table: usize,
): void {
  const p2 = plane(table, 2), p3 = plane(table, 3), mask = v128.load32_splat(HALF), none = i8x16.splat(0)
  for (let row = odd; row < odd + rows; row++) {
    const shift = <i32>(row & 1) << 2
    let from = src + (row >> 1) * stride, scale = scales
    const end = dst + (columns << 2)
    for (; dst + 64 <= end; dst += 64) {
      const index = v128.and(i16x8.shr_u(v128.load(from), shift), mask)
      const b2 = i8x16.swizzle(p2, index), b3 = i8x16.swizzle(p3, index)
      const a = i8x16.shuffle(b2, b3, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23)
      const b = i8x16.shuffle(b2, b3, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31)
      put(dst, low16(a), v128.load(scale), none, false)
      put(dst + 16, high16(a), v128.load(scale, 16), none, false)
      put(dst + 32, low16(b), v128.load(scale, 32), none, false)
      put(dst + 48, high16(b), v128.load(scale, 48), none, false)
      from += 16
      scale += 64
    }
    for (; dst < end; dst += 4) {
      store<f32>(dst, load<f32>(table + ((<usize>load<u8>(from) >> shift & 15) << 2)) * load<f32>(scale))
      from++
      scale += 4
    }
  }
}
