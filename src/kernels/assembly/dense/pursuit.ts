// Inner products with many rows, kept up to date. Lengths are whole blocks of 64 numbers.

/** a += c · g. For each block, the largest magnitude in it; numbers that are NaN stay NaN and do not count. */
export function addScaled(a: usize, g: usize, c: f32, blocks: i32, peaks: usize): void {
  const k = f32x4.splat(c)
  for (let block = 0; block < blocks; block++) {
    let m0 = f32x4.splat(0), m1 = m0
    const end = a + 256
    while (a < end) {
      const x = f32x4.add(v128.load(a), f32x4.mul(k, v128.load(g)))
      const y = f32x4.add(v128.load(a, 16), f32x4.mul(k, v128.load(g, 16)))
      v128.store(a, x)
      v128.store(a, y, 16)
      m0 = f32x4.pmax(m0, f32x4.abs(x))
      m1 = f32x4.pmax(m1, f32x4.abs(y))
      a += 32
      g += 32
    }
    m0 = f32x4.pmax(m0, m1)
    m0 = f32x4.pmax(m0, v128.shuffle<f32>(m0, m0, 2, 3, 0, 1))
    m0 = f32x4.pmax(m0, v128.shuffle<f32>(m0, m0, 1, 0, 3, 2))
    store<f32>(peaks + (<usize>block << 2), f32x4.extract_lane(m0, 0))
  }
}

// @ts-ignore: decorator
@inline
function low(p: usize): v128 { return f64x2.promote_low_f32x4(v128.load64_zero(p)) }

/** y += c · x, of float64 and float32 numbers. */
export function addRow(y: usize, x: usize, c: f64, n: i32): void {
  const k = f64x2.splat(c)
  let i = 0
  for (; i + 4 <= n; i += 4) {
    v128.store(y, f64x2.add(v128.load(y), f64x2.mul(k, low(x))))
    v128.store(y, f64x2.add(v128.load(y, 16), f64x2.mul(k, low(x + 8))), 16)
    y += 32
    x += 16
  }
  for (; i < n; i++) {
    store<f64>(y, load<f64>(y) + c * <f64>load<f32>(x))
    y += 8
    x += 4
  }
}

/** Σ x_i y_i of float32 and float64 numbers: four sums in turn, then their sum. */
export function rowDot(x: usize, y: usize, n: i32): f64 {
  let s = f64x2.splat(0), t = s
  let i = 0
  for (; i + 4 <= n; i += 4) {
    s = f64x2.add(s, f64x2.mul(low(x), v128.load(y)))
    t = f64x2.add(t, f64x2.mul(low(x + 8), v128.load(y, 16)))
    x += 16
    y += 32
  }
  s = f64x2.add(s, t)
  let total = f64x2.extract_lane(s, 0) + f64x2.extract_lane(s, 1)
  for (; i < n; i++) {
    total += <f64>load<f32>(x) * load<f64>(y)
    x += 4
    y += 8
  }
  return total
}
