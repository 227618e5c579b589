/** Halves of bytes as indexes into a table of 16 float32 numbers. */

/** One byte of each of the table's 16 numbers. */
// @ts-ignore: decorator
@inline
export function plane(table: usize, byte: usize): v128 {
  let bytes = i8x16.splat(0)
  const part = memory.data(16)
  for (let i: usize = 0; i < 16; i++) store<u8>(part + i, load<u8>(table + (i << 2) + byte))
  bytes = v128.load(part)
  return bytes
}

/** Stores the numbers of 16 indexes, `scaled`: times s0 to s3. */
// @ts-ignore: decorator
@inline
export function store16(
  dst: usize,
  index: v128,
  p0: v128,
  p1: v128,
  p2: v128,
  p3: v128,
  scaled: bool,
  s0: v128 = i8x16.splat(0),
  s1: v128 = i8x16.splat(0),
  s2: v128 = i8x16.splat(0),
  s3: v128 = i8x16.splat(0),
): void {
  const b0 = i8x16.swizzle(p0, index), b1 = i8x16.swizzle(p1, index)
  const b2 = i8x16.swizzle(p2, index), b3 = i8x16.swizzle(p3, index)
  const low01 = i8x16.shuffle(b0, b1, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23)
  const high01 = i8x16.shuffle(b0, b1, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31)
  const low23 = i8x16.shuffle(b2, b3, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23)
  const high23 = i8x16.shuffle(b2, b3, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31)
  const x0 = i16x8.shuffle(low01, low23, 0, 8, 1, 9, 2, 10, 3, 11)
  const x1 = i16x8.shuffle(low01, low23, 4, 12, 5, 13, 6, 14, 7, 15)
  const x2 = i16x8.shuffle(high01, high23, 0, 8, 1, 9, 2, 10, 3, 11)
  const x3 = i16x8.shuffle(high01, high23, 4, 12, 5, 13, 6, 14, 7, 15)
  v128.store(dst, scaled ? f32x4.mul(x0, s0) : x0)
  v128.store(dst, scaled ? f32x4.mul(x1, s1) : x1, 16)
  v128.store(dst, scaled ? f32x4.mul(x2, s2) : x2, 32)
  v128.store(dst, scaled ? f32x4.mul(x3, s3) : x3, 48)
}
