// Dense linear algebra on matrices that lie in this memory: packed, register-blocked products and the polar factor.
// An element of a product is a chain of additions that depends on the blocking of the inner dimension alone, which the
// caller fixes: not on the size of the tile, on its place, or on the number of threads.

/** Packs rows × k numbers, row-major with `stride` bytes a row, into panels of `width` rows: dst[panel][p][r], padded with zeros. */
export function packRows(src: usize, stride: usize, rows: i32, k: i32, width: i32, dst: usize): void {
  for (let i = 0; i < rows; i += width) {
    const full = min(width, rows - i)
    const step = <usize>width << 2
    // Four whole rows at a time, where there are so many.
    let r = 0
    for (; r + 4 <= full; r += 4) packFour(src + <usize>(i + r) * stride, stride, k, dst + (<usize>r << 2), step)
    for (; r < width; r++) {
      let to = dst + (<usize>r << 2)
      if (r < full) {
        let from = src + <usize>(i + r) * stride
        for (let p = 0; p < k; p++) {
          store<f32>(to, load<f32>(from))
          from += 4
          to += step
        }
      } else {
        for (let p = 0; p < k; p++) {
          store<f32>(to, 0)
          to += step
        }
      }
    }
    dst += <usize>k * step
  }
}

/** Four rows of k numbers side by side, as columns of steps of `step` bytes: squares of 4 × 4 are turned. */
function packFour(src: usize, stride: usize, k: i32, dst: usize, step: usize): void {
  const one = src + stride, two = one + stride, three = two + stride
  const even = k & ~3
  for (let p = 0; p < even; p += 4) {
    const at = <usize>p << 2
    const a = v128.load(src + at), b = v128.load(one + at), c = v128.load(two + at), d = v128.load(three + at)
    const ab = v128.shuffle<f32>(a, b, 0, 4, 1, 5), cd = v128.shuffle<f32>(c, d, 0, 4, 1, 5)
    const ef = v128.shuffle<f32>(a, b, 2, 6, 3, 7), gh = v128.shuffle<f32>(c, d, 2, 6, 3, 7)
    v128.store(dst, v128.shuffle<f32>(ab, cd, 0, 1, 4, 5))
    v128.store(dst += step, v128.shuffle<f32>(ab, cd, 2, 3, 6, 7))
    v128.store(dst += step, v128.shuffle<f32>(ef, gh, 0, 1, 4, 5))
    v128.store(dst += step, v128.shuffle<f32>(ef, gh, 2, 3, 6, 7))
    dst += step
  }
  for (let p = even; p < k; p++) {
    const at = <usize>p << 2
    store<f32>(dst, load<f32>(src + at))
    store<f32>(dst, load<f32>(one + at), 4)
    store<f32>(dst, load<f32>(two + at), 8)
    store<f32>(dst, load<f32>(three + at), 12)
    dst += step
  }
}

/** As packRows, of the transposed: `src` holds k × rows numbers. */
export function packColumns(src: usize, stride: usize, rows: i32, k: i32, width: i32, dst: usize): void {
  for (let i = 0; i < rows; i += width) {
    const full = min(width, rows - i)
    let from = src + (<usize>i << 2)
    for (let p = 0; p < k; p++) {
      let r = 0
      for (; r + 4 <= full; r += 4) v128.store(dst + (<usize>r << 2), v128.load(from + (<usize>r << 2)))
      for (; r < full; r++) store<f32>(dst + (<usize>r << 2), load<f32>(from + (<usize>r << 2)))
      for (; r < width; r++) store<f32>(dst + (<usize>r << 2), 0)
      dst += <usize>width << 2
      from += stride
    }
  }
}

// @ts-ignore: decorator
@inline
function accumulate(at: usize, x: v128, y: v128): void {
  v128.store(at, f32x4.add(v128.load(at), x))
  v128.store(at, f32x4.add(v128.load(at, 16), y), 16)
}

/** C (m × n, rows of `stride` bytes) += A · Bᵀ from packed panels: 4 rows of A, 8 rows of B; m and n are padded to these. */
export function gemmF32(a: usize, b: usize, c: usize, m: i32, n: i32, k: i32, stride: usize): void {
  for (let j = 0; j < n; j += 8) {
    const panel = b + (<usize>j * <usize>k << 2)
    for (let i = 0; i < m; i += 4) {
      let x = a + (<usize>i * <usize>k << 2)
      let y = panel
      let c00 = f32x4.splat(0), c01 = f32x4.splat(0), c10 = f32x4.splat(0), c11 = f32x4.splat(0)
      let c20 = f32x4.splat(0), c21 = f32x4.splat(0), c30 = f32x4.splat(0), c31 = f32x4.splat(0)
      for (let p = 0; p < k; p++) {
        const b0 = v128.load(y), b1 = v128.load(y, 16)
        let s = v128.load32_splat(x)
        c00 = f32x4.add(c00, f32x4.mul(s, b0))
        c01 = f32x4.add(c01, f32x4.mul(s, b1))
        s = v128.load32_splat(x, 4)
        c10 = f32x4.add(c10, f32x4.mul(s, b0))
        c11 = f32x4.add(c11, f32x4.mul(s, b1))
        s = v128.load32_splat(x, 8)
        c20 = f32x4.add(c20, f32x4.mul(s, b0))
        c21 = f32x4.add(c21, f32x4.mul(s, b1))
        s = v128.load32_splat(x, 12)
        c30 = f32x4.add(c30, f32x4.mul(s, b0))
        c31 = f32x4.add(c31, f32x4.mul(s, b1))
        x += 16
        y += 32
      }
      let to = c + <usize>i * stride + (<usize>j << 2)
      accumulate(to, c00, c01)
      accumulate(to += stride, c10, c11)
      accumulate(to += stride, c20, c21)
      accumulate(to += stride, c30, c31)
    }
  }
}

/** C (m × n) = A (m × k) · B (k × n), float64, row-major without padding: small matrices only (rows of C are axpy chains). */
export function gemmF64(a: usize, b: usize, c: usize, m: i32, n: i32, k: i32): void {
  const row = <usize>n << 3
  const even = n & ~1
  memory.fill(c, 0, <usize>m * row)
  for (let i = 0; i < m; i++) {
    const to = c + <usize>i * row
    for (let p = 0; p < k; p++) {
      const x = load<f64>(a + ((<usize>i * <usize>k + <usize>p) << 3))
      const from = b + <usize>p * row
      axpy(to, from, x, n, even)
    }
  }
}

// @ts-ignore: decorator
@inline
function axpy(to: usize, from: usize, x: f64, n: i32, even: i32): void {
  const s = f64x2.splat(x)
  for (let j = 0; j < even; j += 2) {
    const at = <usize>j << 3
    v128.store(to + at, f64x2.add(v128.load(to + at), f64x2.mul(s, v128.load(from + at))))
  }
  if (even < n) {
    const at = <usize>even << 3
    store<f64>(to + at, load<f64>(to + at) + x * load<f64>(from + at))
  }
}

/**
 * Inverts the n × n float64 matrix at `a` in place (Gauss-Jordan, partial pivoting). `swaps` has room for n i32.
 * Returns 0 where a pivot is exactly zero or not a number.
 */
export function invertF64(a: usize, swaps: usize, n: i32): i32 {
  const row = <usize>n << 3
  const even = n & ~1
  for (let p = 0; p < n; p++) {
    let best = 0.0
    let at = -1
    for (let i = p; i < n; i++) {
      const size = abs(load<f64>(a + <usize>i * row + (<usize>p << 3)))
      if (size > best) {
        best = size
        at = i
      }
    }
    if (at < 0 || !isFinite(best)) return 0
    store<i32>(swaps + (<usize>p << 2), at)
    const here = a + <usize>p * row
    if (at != p) {
      const other = a + <usize>at * row
      for (let j = 0; j < n; j++) {
        const x = load<f64>(here + (<usize>j << 3))
        store<f64>(here + (<usize>j << 3), load<f64>(other + (<usize>j << 3)))
        store<f64>(other + (<usize>j << 3), x)
      }
    }
    const pivot = 1.0 / load<f64>(here + (<usize>p << 3))
    store<f64>(here + (<usize>p << 3), 1)
    for (let j = 0; j < n; j++) store<f64>(here + (<usize>j << 3), load<f64>(here + (<usize>j << 3)) * pivot)
    for (let i = 0; i < n; i++) {
      if (i == p) continue
      const to = a + <usize>i * row
      const x = -load<f64>(to + (<usize>p << 3))
      if (x == 0) continue
      store<f64>(to + (<usize>p << 3), 0)
      axpy(to, here, x, n, even)
    }
  }
  for (let p = n - 1; p >= 0; p--) {
    const at = load<i32>(swaps + (<usize>p << 2))
    if (at == p) continue
    for (let i = 0; i < n; i++) {
      const x = a + <usize>i * row + (<usize>p << 3)
      const y = a + <usize>i * row + (<usize>at << 3)
      const keep = load<f64>(x)
      store<f64>(x, load<f64>(y))
      store<f64>(y, keep)
    }
  }
  return 1
}
