/**
 * Matrices whose rows become columns, by the bytes of their elements. `line` and `stride`: bytes from one row to the next, and from one
 * row of the result.
 *
 * They are turned in squares that are 64 bytes wide, each in a place of its own: so every line of the cache is read once and written
 * once, however far apart rows lie. Some columns are done before the next ones, so that few pages are in use at a time.
 */
const SQUARE = memory.data(64 * 32, 64)
/** Columns that are done before the next ones: a multiple of those of all squares. */
const COLUMNS: usize = 64

export function turn2(src: usize, line: usize, rows: usize, columns: usize, dst: usize, stride: usize): void {
  turn<u16>(src, line, rows, columns, dst, stride)
}

export function turn4(src: usize, line: usize, rows: usize, columns: usize, dst: usize, stride: usize): void {
  turn<u32>(src, line, rows, columns, dst, stride)
}

export function turn8(src: usize, line: usize, rows: usize, columns: usize, dst: usize, stride: usize): void {
  turn<u64>(src, line, rows, columns, dst, stride)
}

// @ts-ignore: decorator
@inline
function turn<T>(src: usize, line: usize, rows: usize, columns: usize, dst: usize, stride: usize): void {
  const side: usize = 64 / sizeof<T>()
  const whole = rows & ~(side - 1), wide = columns & ~(side - 1)
  for (let left: usize = 0; left < wide; left += COLUMNS) {
    const right = min(wide, left + COLUMNS)
    for (let row: usize = 0; row < whole; row += side) {
      const from = src + row * line
      const to = dst + row * sizeof<T>()
      for (let column = left; column < right; column += side) {
        fillSquare<T>(from + column * sizeof<T>(), line)
        copySquare(to + column * stride, stride, side)
      }
    }
  }
  edges<T>(src, line, rows, columns, whole, wide, dst, stride)
}

/** Bytes. Rows of the result are written by 16 bytes. */
export function turn1(src: usize, line: usize, rows: usize, columns: usize, dst: usize, stride: usize): void {
  const whole = rows & ~15, wide = columns & ~15
  for (let left: usize = 0; left < wide; left += COLUMNS) {
    const right = min(wide, left + COLUMNS)
    for (let row: usize = 0; row < whole; row += 16) {
      for (let column = left; column < right; column += 16) {
        turnBytes(src + row * line + column, line, SQUARE)
        let to = dst + column * stride + row
        for (let byte: usize = 0; byte < 256; byte += 16) {
          v128.store(to, v128.load(SQUARE + byte))
          to += stride
        }
      }
    }
  }
  edges<u8>(src, line, rows, columns, whole, wide, dst, stride)
}

/** The same for elements of 1, 2, 4 or 8 bytes that are `step` bytes apart in their rows. */
export function turn_apart(
  src: usize, line: usize, step: usize, rows: usize, columns: usize, dst: usize, stride: usize, bytes: usize,
): void {
  if (bytes == 1) apart<u8>(src, line, step, rows, columns, dst, stride)
  else if (bytes == 2) apart<u16>(src, line, step, rows, columns, dst, stride)
  else if (bytes == 4) apart<u32>(src, line, step, rows, columns, dst, stride)
  else apart<u64>(src, line, step, rows, columns, dst, stride)
}

function apart<T>(
  src: usize, line: usize, step: usize, rows: usize, columns: usize, dst: usize, stride: usize,
): void {
  for (let left: usize = 0; left < columns; left += COLUMNS) {
    const right = min(columns, left + COLUMNS)
    for (let top: usize = 0; top < rows; top += 32) {
      const bottom = min(rows, top + 32)
      for (let column = left; column < right; column++) {
        let from = src + top * line + column * step
        let to = dst + column * stride + top * sizeof<T>()
        for (let row = top; row < bottom; row++) {
          store<T>(to, load<T>(from))
          from += line
          to += sizeof<T>()
        }
      }
    }
  }
}

/** What lies outside of whole squares. */
function edges<T>(
  src: usize, line: usize, rows: usize, columns: usize, whole: usize, wide: usize, dst: usize, stride: usize,
): void {
  const step: usize = sizeof<T>()
  if (wide < columns) apart<T>(src + wide * step, line, step, whole, columns - wide, dst + wide * stride, stride)
  if (whole < rows) apart<T>(src + whole * line, line, step, rows - whole, columns, dst + whole * step, stride)
}

// @ts-ignore: decorator
@inline
function fillSquare<T>(src: usize, line: usize): void {
  for (let i: usize = 0; i < 64; i += 16) {
    for (let j: usize = 0; j < 64; j += 16) {
      // Sixteen bytes of as many rows as elements are in them.
      const at = src + (i / sizeof<T>()) * line + j
      const to = SQUARE + (j / sizeof<T>()) * 64 + i
      if (sizeof<T>() == 2) turnPairs(at, line, to)
      else if (sizeof<T>() == 4) turnWords(at, line, to)
      else turnLong(at, line, to)
    }
  }
}

/** The square's rows, 64 bytes each. */
// @ts-ignore: decorator
@inline
function copySquare(to: usize, stride: usize, rows: usize): void {
  for (let from: usize = SQUARE; from < SQUARE + (rows << 6); from += 64) {
    v128.store(to, v128.load(from))
    v128.store(to, v128.load(from, 16), 16)
    v128.store(to, v128.load(from, 32), 32)
    v128.store(to, v128.load(from, 48), 48)
    to += stride
  }
}

/** Eight rows of 2-byte elements become columns of rows that are 64 bytes apart. */
// @ts-ignore: decorator
@inline
function turnPairs(src: usize, line: usize, dst: usize): void {
  const x0 = v128.load(src), x1 = v128.load(src + line)
  const x2 = v128.load(src + 2 * line), x3 = v128.load(src + 3 * line)
  const x4 = v128.load(src + 4 * line), x5 = v128.load(src + 5 * line)
  const x6 = v128.load(src + 6 * line), x7 = v128.load(src + 7 * line)
  const a0 = i16x8.shuffle(x0, x1, 0, 8, 1, 9, 2, 10, 3, 11), a1 = i16x8.shuffle(x0, x1, 4, 12, 5, 13, 6, 14, 7, 15)
  const a2 = i16x8.shuffle(x2, x3, 0, 8, 1, 9, 2, 10, 3, 11), a3 = i16x8.shuffle(x2, x3, 4, 12, 5, 13, 6, 14, 7, 15)
  const a4 = i16x8.shuffle(x4, x5, 0, 8, 1, 9, 2, 10, 3, 11), a5 = i16x8.shuffle(x4, x5, 4, 12, 5, 13, 6, 14, 7, 15)
  const a6 = i16x8.shuffle(x6, x7, 0, 8, 1, 9, 2, 10, 3, 11), a7 = i16x8.shuffle(x6, x7, 4, 12, 5, 13, 6, 14, 7, 15)
  const b0 = i32x4.shuffle(a0, a2, 0, 4, 1, 5), b1 = i32x4.shuffle(a0, a2, 2, 6, 3, 7)
  const b2 = i32x4.shuffle(a1, a3, 0, 4, 1, 5), b3 = i32x4.shuffle(a1, a3, 2, 6, 3, 7)
  const b4 = i32x4.shuffle(a4, a6, 0, 4, 1, 5), b5 = i32x4.shuffle(a4, a6, 2, 6, 3, 7)
  const b6 = i32x4.shuffle(a5, a7, 0, 4, 1, 5), b7 = i32x4.shuffle(a5, a7, 2, 6, 3, 7)
  v128.store(dst, i64x2.shuffle(b0, b4, 0, 2))
  v128.store(dst, i64x2.shuffle(b0, b4, 1, 3), 64)
  v128.store(dst, i64x2.shuffle(b1, b5, 0, 2), 128)
  v128.store(dst, i64x2.shuffle(b1, b5, 1, 3), 192)
  v128.store(dst, i64x2.shuffle(b2, b6, 0, 2), 256)
  v128.store(dst, i64x2.shuffle(b2, b6, 1, 3), 320)
  v128.store(dst, i64x2.shuffle(b3, b7, 0, 2), 384)
  v128.store(dst, i64x2.shuffle(b3, b7, 1, 3), 448)
}

/** Four rows of 4-byte elements become columns of rows that are 64 bytes apart. */
// @ts-ignore: decorator
@inline
function turnWords(src: usize, line: usize, dst: usize): void {
  const x0 = v128.load(src), x1 = v128.load(src + line)
  const x2 = v128.load(src + 2 * line), x3 = v128.load(src + 3 * line)
  const y0 = i32x4.shuffle(x0, x1, 0, 4, 1, 5), y1 = i32x4.shuffle(x0, x1, 2, 6, 3, 7)
  const y2 = i32x4.shuffle(x2, x3, 0, 4, 1, 5), y3 = i32x4.shuffle(x2, x3, 2, 6, 3, 7)
  v128.store(dst, i64x2.shuffle(y0, y2, 0, 2))
  v128.store(dst, i64x2.shuffle(y0, y2, 1, 3), 64)
  v128.store(dst, i64x2.shuffle(y1, y3, 0, 2), 128)
  v128.store(dst, i64x2.shuffle(y1, y3, 1, 3), 192)
}

/** Two rows of 8-byte elements. */
// @ts-ignore: decorator
@inline
function turnLong(src: usize, line: usize, dst: usize): void {
  const x0 = v128.load(src), x1 = v128.load(src + line)
  v128.store(dst, i64x2.shuffle(x0, x1, 0, 2))
  v128.store(dst, i64x2.shuffle(x0, x1, 1, 3), 64)
}

/** A square of 16 × 16 bytes, transposed: pairs of rows 8 apart are mixed four times. */
// @ts-ignore: decorator
@inline
function turnBytes(src: usize, line: usize, dst: usize): void {
  for (let i: usize = 0; i < 8; i++) mix(dst + (i << 5), v128.load(src + i * line), v128.load(src + (i + 8) * line))
  for (let round = 0; round < 3; round++) {
    const a = v128.load(dst), b = v128.load(dst, 16), c = v128.load(dst, 32), d = v128.load(dst, 48)
    const e = v128.load(dst, 64), f = v128.load(dst, 80), g = v128.load(dst, 96), h = v128.load(dst, 112)
    const i = v128.load(dst, 128), j = v128.load(dst, 144), k = v128.load(dst, 160), l = v128.load(dst, 176)
    const m = v128.load(dst, 192), n = v128.load(dst, 208), o = v128.load(dst, 224), p = v128.load(dst, 240)
    mix(dst, a, i)
    mix(dst + 32, b, j)
    mix(dst + 64, c, k)
    mix(dst + 96, d, l)
    mix(dst + 128, e, m)
    mix(dst + 160, f, n)
    mix(dst + 192, g, o)
    mix(dst + 224, h, p)
  }
}

/** Bytes of two vectors in turns. */
// @ts-ignore: decorator
@inline
function mix(dst: usize, a: v128, b: v128): void {
  v128.store(dst, i8x16.shuffle(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23))
  v128.store(dst, i8x16.shuffle(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31), 16)
}
