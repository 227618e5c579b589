/** Σ x_i y_i: pairs go to two vectors of sums in turn. The same chain as in `rowsDot`. */
export function dot(x: usize, y: usize, n: i32): f64 {
  let s = f64x2.splat(0), t = s
  const whole = x + (<usize>(n & ~3) << 3)
  while (x < whole) {
    s = f64x2.add(s, f64x2.mul(v128.load(x), v128.load(y)))
    t = f64x2.add(t, f64x2.mul(v128.load(x, 16), v128.load(y, 16)))
    x += 32
    y += 32
  }
  return rest(f64x2.add(s, t), x, y, n & 3)
}

// @ts-ignore: decorator
@inline
function rest(sum: v128, x: usize, y: usize, n: i32): f64 {
  let total = f64x2.extract_lane(sum, 0) + f64x2.extract_lane(sum, 1)
  for (let i = 0; i < n; i++) total += load<f64>(x + (<usize>i << 3)) * load<f64>(y + (<usize>i << 3))
  return total
}

/** out_i = row_i · v for `rows` rows of n numbers. */
export function rowsDot(a: usize, stride: usize, rows: i32, n: i32, v: usize, out: usize): void {
  const bytes = <usize>(n & ~3) << 3
  let i = 0
  for (; i + 4 <= rows; i += 4) {
    let p = a, q = a + stride, r = q + stride, s = r + stride, y = v
    const whole = v + bytes
    let p0 = f64x2.splat(0), p1 = p0, q0 = p0, q1 = p0, r0 = p0, r1 = p0, s0 = p0, s1 = p0
    while (y < whole) {
      const y0 = v128.load(y), y1 = v128.load(y, 16)
      p0 = f64x2.add(p0, f64x2.mul(v128.load(p), y0))
      p1 = f64x2.add(p1, f64x2.mul(v128.load(p, 16), y1))
      q0 = f64x2.add(q0, f64x2.mul(v128.load(q), y0))
      q1 = f64x2.add(q1, f64x2.mul(v128.load(q, 16), y1))
      r0 = f64x2.add(r0, f64x2.mul(v128.load(r), y0))
      r1 = f64x2.add(r1, f64x2.mul(v128.load(r, 16), y1))
      s0 = f64x2.add(s0, f64x2.mul(v128.load(s), y0))
      s1 = f64x2.add(s1, f64x2.mul(v128.load(s, 16), y1))
      p += 32
      q += 32
      r += 32
      s += 32
      y += 32
    }
    store<f64>(out, rest(f64x2.add(p0, p1), p, y, n & 3))
    store<f64>(out + 8, rest(f64x2.add(q0, q1), q, y, n & 3))
    store<f64>(out + 16, rest(f64x2.add(r0, r1), r, y, n & 3))
    store<f64>(out + 24, rest(f64x2.add(s0, s1), s, y, n & 3))
    a += stride << 2
    out += 32
  }
  for (; i < rows; i++) {
    store<f64>(out, dot(a, v, n))
    a += stride
    out += 8
  }
}

/** y += c · x. */
export function axpy(y: usize, x: usize, c: f64, n: i32): void {
  const k = f64x2.splat(c)
  const whole = y + (<usize>(n & ~1) << 3)
  while (y < whole) {
    v128.store(y, f64x2.add(v128.load(y), f64x2.mul(k, v128.load(x))))
    x += 16
    y += 16
  }
  if (n & 1) store<f64>(y, load<f64>(y) + c * load<f64>(x))
}

/** out = Σ c_i row_i over `rows` rows of n numbers, added to `out` in the order of rows; c_i lie `step` bytes apart. */
export function rowsSum(out: usize, a: usize, stride: usize, rows: i32, n: i32, c: usize, step: usize, sign: f64): void {
  for (let i = 0; i < rows; i++) {
    axpy(out, a, sign * load<f64>(c), n)
    a += stride
    c += step
  }
}

/** x *= c. */
export function scale(x: usize, c: f64, n: i32): void {
  for (let i = 0; i < n; i++) store<f64>(x + (<usize>i << 3), c * load<f64>(x + (<usize>i << 3)))
}

/** (x, y) ← (c x + s y, c y − s x). */
export function rotate(x: usize, y: usize, c: f64, s: f64, n: i32): void {
  for (let i = 0; i < n; i++) {
    const at = <usize>i << 3
    const p = load<f64>(x + at), q = load<f64>(y + at)
    store<f64>(x + at, c * p + s * q)
    store<f64>(y + at, c * q - s * p)
  }
}
