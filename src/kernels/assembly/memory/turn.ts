/** Matrices whose rows become columns: of 4-byte elements, and of bytes. */

/**
 * Rows of 4-byte elements become columns. `line` and `stride`: bytes from one row to the next, and from one row of the result. Eight rows of the result
 * are written side by side: often they are as far apart as lines that share a place in the cache.
 */
export function transpose(src: usize, line: usize, rows: usize, columns: usize, dst: usize, stride: usize): void {
  const whole = rows & ~3, wide = columns & ~7
  for (let column: usize = 0; column < wide; column += 8) {
    let from = src + (column << 2)
    let to = dst + column * stride
    for (let row: usize = 0; row < whole; row += 4) {
      square(from, line, to, stride)
      square(from + 16, line, to + 4 * stride, stride)
      from += 4 * line
      to += 16
    }
  }
  for (let row: usize = 0; row < rows; row++) {
    const first = row < whole ? wide : 0
    let from = src + row * line + (first << 2)
    let to = dst + (row << 2) + first * stride
    for (let column = first; column < columns; column++) {
      store<u32>(to, load<u32>(from))
      from += 4
      to += stride
    }
  }
}

// @ts-ignore: decorator
@inline
function square(from: usize, line: usize, to: usize, stride: usize): void {
  const x0 = v128.load(from), x1 = v128.load(from + line)
  const x2 = v128.load(from + 2 * line), x3 = v128.load(from + 3 * line)
  const y0 = i32x4.shuffle(x0, x1, 0, 4, 1, 5), y1 = i32x4.shuffle(x0, x1, 2, 6, 3, 7)
  const y2 = i32x4.shuffle(x2, x3, 0, 4, 1, 5), y3 = i32x4.shuffle(x2, x3, 2, 6, 3, 7)
  v128.store(to, i64x2.shuffle(y0, y2, 0, 2))
  v128.store(to + stride, i64x2.shuffle(y0, y2, 1, 3))
  v128.store(to + 2 * stride, i64x2.shuffle(y1, y3, 0, 2))
  v128.store(to + 3 * stride, i64x2.shuffle(y1, y3, 1, 3))
}

/** Rows of bytes become columns. `line` and `stride`: bytes from one row to the next, and from one row of the result. */
export function transpose_bytes(src: usize, line: usize, rows: usize, columns: usize, dst: usize, stride: usize): void {
  const whole = rows & ~15, wide = columns & ~15
  for (let row: usize = 0; row < whole; row += 16) {
    for (let column: usize = 0; column < wide; column += 16) {
      turnBytes(src + row * line + column, line, SQUARE)
      let to = dst + column * stride + row
      for (let byte: usize = 0; byte < 256; byte += 16) {
        v128.store(to, v128.load(SQUARE + byte))
        to += stride
      }
    }
  }
  for (let row: usize = 0; row < rows; row++)
    for (let column = row < whole ? wide : 0; column < columns; column++)
      store<u8>(dst + column * stride + row, load<u8>(src + row * line + column))
}

const SQUARE = memory.data(256, 16)

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
