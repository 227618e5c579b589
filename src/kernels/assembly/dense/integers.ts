// Inner products of rows of 16-bit integers. A matrix lies in panels of four rows: for every eight columns, eight numbers of each row.

/**
 * x ← H x for blocks of so many float64 numbers, a power of two: a Hadamard matrix without its factor. It spreads what is in few places
 * over all, and keeps inner products. `signs`: ±1 by column, multiplied first.
 */
export function spread(x: usize, n: i32, block: i32, signs: usize): void {
  for (let i = 0; i < n; i++) {
    const at = <usize>i << 3
    store<f64>(x + at, load<f64>(x + at) * <f64>load<i8>(signs + <usize>i))
  }
  for (let from = 0; from < n; from += block) {
    const first = x + (<usize>from << 3), end = first + (<usize>block << 3)
    if (block > 1)
      for (let p = first; p < end; p += 16) {
        const a = load<f64>(p), b = load<f64>(p, 8)
        store<f64>(p, a + b)
        store<f64>(p, a - b, 8)
      }
    for (let half = 2; half < block; half <<= 1) {
      const step = <usize>half << 3
      for (let p = first; p < end; p += step << 1)
        for (let q = p; q < p + step; q += 16) {
          const a = v128.load(q), b = v128.load(q + step)
          v128.store(q, f64x2.add(a, b))
          v128.store(q + step, f64x2.sub(a, b))
        }
    }
  }
}

/** The largest Σ x² of a quarter of 256 float64 numbers: of pairs of columns that one lane adds up. */
export function laneSquares(x: usize, n: i32, depth: i32): f64 {
  let most = 0.0
  for (let from = 0; from < n; from += depth) {
    const end = min(n, from + depth)
    for (let lane = 0; lane < 8; lane += 2) {
      let sum = 0.0
      for (let i = from + lane; i < end; i += 8) {
        const a = load<f64>(x + (<usize>i << 3)), b = load<f64>(x + (<usize>i << 3), 8)
        sum += a * a + b * b
      }
      most = max(most, sum)
    }
  }
  return most
}

/** The largest magnitude. */
export function largest(x: usize, n: i32): f64 {
  let most = 0.0
  for (let i = 0; i < n; i++) most = max(most, abs(load<f64>(x + (<usize>i << 3))))
  return most
}

/** Writes x · scale, rounded, as a row of a panel. Returns Σ (x · scale − what was written)². */
export function quantise(x: usize, n: i32, scale: f64, panel: usize, row: i32): f64 {
  let sum = 0.0
  for (let i = 0; i < n; i++) {
    const exact = load<f64>(x + (<usize>i << 3)) * scale
    const near = nearest(exact)
    sum += (exact - near) * (exact - near)
    store<i16>(panel + (((<usize>(i >> 3) << 5) + (<usize>row << 3) + <usize>(i & 7)) << 1), <i16>near)
  }
  return sum
}

// @ts-ignore: decorator
@inline
function sums(a: v128, b: v128): v128 {
  return f32x4.add(v128.shuffle<f32>(a, b, 0, 4, 1, 5), v128.shuffle<f32>(a, b, 2, 6, 3, 7))
}

/** Adds the sums of the lanes of four vectors of integers to four numbers. */
// @ts-ignore: decorator
@inline
function flush(to: usize, a: v128, b: v128, c: v128, d: v128): void {
  const x = sums(f32x4.convert_i32x4_s(a), f32x4.convert_i32x4_s(b))
  const y = sums(f32x4.convert_i32x4_s(c), f32x4.convert_i32x4_s(d))
  const all = f32x4.add(v128.shuffle<f32>(x, y, 0, 1, 4, 5), v128.shuffle<f32>(x, y, 2, 3, 6, 7))
  v128.store(to, f32x4.add(v128.load(to), all))
}

/**
 * C (m × n float32, rows of `stride` bytes) += A · Bᵀ over `depth` columns of panels, which are `pitchA` and `pitchB` bytes apart; m and
 * n are multiples of 4. The sum of a lane over these columns is below 2³¹: so scales are chosen.
 */
export function multiplyIntegers(
  a: usize, pitchA: usize, b: usize, pitchB: usize, c: usize, m: i32, n: i32, depth: i32, stride: usize,
): void {
  const bytes = <usize>depth << 3
  for (let j = 0; j < n; j += 4) {
    const panel = b + <usize>(j >> 2) * pitchB
    for (let i = 0; i < m; i += 2) {
      let x = a + <usize>(i >> 2) * pitchA + (<usize>(i & 2) << 4)
      let y = panel
      const end = panel + bytes
      let p0 = i32x4.splat(0), p1 = p0, p2 = p0, p3 = p0, q0 = p0, q1 = p0, q2 = p0, q3 = p0
      while (y < end) {
        const p = v128.load(x), q = v128.load(x, 16)
        let v = v128.load(y)
        p0 = i32x4.add(p0, i32x4.dot_i16x8_s(p, v))
        q0 = i32x4.add(q0, i32x4.dot_i16x8_s(q, v))
        v = v128.load(y, 16)
        p1 = i32x4.add(p1, i32x4.dot_i16x8_s(p, v))
        q1 = i32x4.add(q1, i32x4.dot_i16x8_s(q, v))
        v = v128.load(y, 32)
        p2 = i32x4.add(p2, i32x4.dot_i16x8_s(p, v))
        q2 = i32x4.add(q2, i32x4.dot_i16x8_s(q, v))
        v = v128.load(y, 48)
        p3 = i32x4.add(p3, i32x4.dot_i16x8_s(p, v))
        q3 = i32x4.add(q3, i32x4.dot_i16x8_s(q, v))
        x += 64
        y += 64
      }
      const to = c + <usize>i * stride + (<usize>j << 2)
      flush(to, p0, p1, p2, p3)
      flush(to + stride, q0, q1, q2, q3)
    }
  }
}

/** c_ij ← c_ij · (x_i · y_j): the same for (i, j) and (j, i). */
export function scaleSides(c: usize, stride: usize, m: i32, n: i32, x: usize, y: usize): void {
  for (let i = 0; i < m; i++) {
    const k = f32x4.splat(load<f32>(x + (<usize>i << 2)))
    let to = c + <usize>i * stride
    for (let j = 0; j < n; j += 4) {
      v128.store(to, f32x4.mul(v128.load(to), f32x4.mul(k, v128.load(y + (<usize>j << 2)))))
      to += 16
    }
  }
}

/** Cosines as integers of 16 bits, ±32000 is ±1: `out` and its transpose, `width` and `height` numbers a row. n is a multiple of 4. */
export function narrow(c: usize, stride: usize, m: i32, n: i32, out: usize, width: i32, turned: usize, height: i32): void {
  for (let i = 0; i < m; i++) {
    const from = c + <usize>i * stride
    let to = out + (<usize>i * <usize>width << 1)
    let across = turned + (<usize>i << 1)
    for (let j = 0; j < n; j++) {
      const value = max<f32>(-32767, min<f32>(32767, nearest(load<f32>(from + (<usize>j << 2)) * 32000)))
      store<i16>(to, <i16>value)
      store<i16>(across, <i16>value)
      to += 2
      across += <usize>height << 1
    }
  }
}

/**
 * For each of so many blocks of 64 rows: takes pairs of rows of cosines off their products, each number c · `unit` times: c is an integer
 * of 16 bits. `addresses`: of each row. `coefficients`: c of each row. Writes the largest (|product| + error) · norm of each block, and
 * returns the largest (|product| − error) · norm.
 */
export function takeOff(
  products: usize, addresses: usize, pairs: i32, coefficients: usize, unit: f32, error: f32, norms: usize, blocks: i32, peaks: usize,
): f32 {
  const scale = f32x4.splat(unit), slack = f32x4.splat(error)
  let least = f32x4.splat(0)
  let column: usize = 0
  for (let block = 0; block < blocks; block++) {
    let peak = f32x4.splat(0)
    for (let part = 0; part < 4; part++) {
      let s0 = i32x4.splat(0), s1 = s0, s2 = s0, s3 = s0
      let at = addresses, c = coefficients
      for (let pair = 0; pair < pairs; pair++) {
        const g = <usize>load<u32>(at) + column, other = <usize>load<u32>(at, 4) + column
        const k = v128.load32_splat(c)
        let x = v128.load(g), y = v128.load(other)
        s0 = i32x4.add(s0, i32x4.dot_i16x8_s(v128.shuffle<i16>(x, y, 0, 8, 1, 9, 2, 10, 3, 11), k))
        s1 = i32x4.add(s1, i32x4.dot_i16x8_s(v128.shuffle<i16>(x, y, 4, 12, 5, 13, 6, 14, 7, 15), k))
        x = v128.load(g, 16)
        y = v128.load(other, 16)
        s2 = i32x4.add(s2, i32x4.dot_i16x8_s(v128.shuffle<i16>(x, y, 0, 8, 1, 9, 2, 10, 3, 11), k))
        s3 = i32x4.add(s3, i32x4.dot_i16x8_s(v128.shuffle<i16>(x, y, 4, 12, 5, 13, 6, 14, 7, 15), k))
        at += 8
        c += 4
      }
      column += 32
      const u0 = leftOver(products, s0, scale), u1 = leftOver(products + 16, s1, scale)
      const u2 = leftOver(products + 32, s2, scale), u3 = leftOver(products + 48, s3, scale)
      const n0 = v128.load(norms), n1 = v128.load(norms, 16), n2 = v128.load(norms, 32), n3 = v128.load(norms, 48)
      const m0 = f32x4.mul(f32x4.add(u0, slack), n0), m1 = f32x4.mul(f32x4.add(u1, slack), n1)
      const m2 = f32x4.mul(f32x4.add(u2, slack), n2), m3 = f32x4.mul(f32x4.add(u3, slack), n3)
      peak = f32x4.pmax(peak, f32x4.pmax(f32x4.pmax(m0, m1), f32x4.pmax(m2, m3)))
      least = f32x4.pmax(least, f32x4.mul(f32x4.sub(u0, slack), n0))
      least = f32x4.pmax(least, f32x4.mul(f32x4.sub(u1, slack), n1))
      least = f32x4.pmax(least, f32x4.mul(f32x4.sub(u2, slack), n2))
      least = f32x4.pmax(least, f32x4.mul(f32x4.sub(u3, slack), n3))
      products += 64
      norms += 64
    }
    store<f32>(peaks + (<usize>block << 2), acrossLanes(peak))
  }
  return acrossLanes(least)
}

// @ts-ignore: decorator
@inline
function leftOver(at: usize, sum: v128, scale: v128): v128 {
  const left = f32x4.sub(v128.load(at), f32x4.mul(f32x4.convert_i32x4_s(sum), scale))
  v128.store(at, left)
  return f32x4.abs(left)
}

/** y −= Σ c_i x_i of float32 numbers, in the order of rows, which are `step` bytes apart. */
export function subtractRows(y: usize, x: usize, step: usize, c: usize, rows: i32, n: i32): void {
  const whole = n & ~3
  let i = 0
  for (; i + 4 <= rows; i += 4) {
    const a = f32x4.splat(load<f32>(c)), b = f32x4.splat(load<f32>(c, 4))
    const d = f32x4.splat(load<f32>(c, 8)), e = f32x4.splat(load<f32>(c, 12))
    let p = x, to = y
    const q = step, r = step << 1, s = r + step
    for (let k = 0; k < whole; k += 4) {
      let sum = f32x4.sub(v128.load(to), f32x4.mul(a, v128.load(p)))
      sum = f32x4.sub(sum, f32x4.mul(b, v128.load(p + q)))
      sum = f32x4.sub(sum, f32x4.mul(d, v128.load(p + r)))
      sum = f32x4.sub(sum, f32x4.mul(e, v128.load(p + s)))
      v128.store(to, sum)
      p += 16
      to += 16
    }
    x += step << 2
    c += 16
  }
  for (; i < rows; i++) {
    const a = f32x4.splat(load<f32>(c))
    for (let k = 0; k < whole; k += 4) {
      const at = <usize>k << 2
      v128.store(y + at, f32x4.sub(v128.load(y + at), f32x4.mul(a, v128.load(x + at))))
    }
    x += step
    c += 4
  }
  x -= step * <usize>rows
  c -= <usize>rows << 2
  for (let k = whole; k < n; k++) {
    let sum = load<f32>(y + (<usize>k << 2))
    for (let j = 0; j < rows; j++)
      sum -= load<f32>(c + (<usize>j << 2)) * load<f32>(x + <usize>j * step + (<usize>k << 2))
    store<f32>(y + (<usize>k << 2), sum)
  }
}

// @ts-ignore: decorator
@inline
function acrossLanes(x: v128): f32 {
  x = f32x4.pmax(x, v128.shuffle<f32>(x, x, 2, 3, 0, 1))
  x = f32x4.pmax(x, v128.shuffle<f32>(x, x, 1, 0, 3, 2))
  return f32x4.extract_lane(x, 0)
}

/** Numbers that are the upper 16 bits of float32 numbers. */
export function widenHalves(from: usize, to: usize, n: i32): void {
  for (let i = 0; i < n; i++) store<u32>(to + (<usize>i << 2), <u32>load<u16>(from + (<usize>i << 1)) << 16)
}

/** Σ x_i y_i of float32 numbers: sums of two products in float32, then in float64. */
export function narrowDot(x: usize, y: usize, n: i32): f64 {
  let s = f64x2.splat(0), t = s, u = s, v = s
  let i = 0
  for (; i + 16 <= n; i += 16) {
    const a = f32x4.add(f32x4.mul(v128.load(x), v128.load(y)), f32x4.mul(v128.load(x, 16), v128.load(y, 16)))
    const b = f32x4.add(f32x4.mul(v128.load(x, 32), v128.load(y, 32)), f32x4.mul(v128.load(x, 48), v128.load(y, 48)))
    s = f64x2.add(s, f64x2.promote_low_f32x4(a))
    t = f64x2.add(t, f64x2.promote_low_f32x4(v128.shuffle<f32>(a, a, 2, 3, 2, 3)))
    u = f64x2.add(u, f64x2.promote_low_f32x4(b))
    v = f64x2.add(v, f64x2.promote_low_f32x4(v128.shuffle<f32>(b, b, 2, 3, 2, 3)))
    x += 64
    y += 64
  }
  s = f64x2.add(f64x2.add(s, t), f64x2.add(u, v))
  let total = f64x2.extract_lane(s, 0) + f64x2.extract_lane(s, 1)
  for (; i < n; i++) {
    total += <f64>load<f32>(x) * <f64>load<f32>(y)
    x += 4
    y += 4
  }
  return total
}
