// Packed, register-blocked products. An element is a chain of sums that the blocking of the inner dimension alone
// decides: not the tile it lies in, nor the thread that makes it.

// @ts-ignore: decorator
@inline
function element(p: usize, narrow: bool): f64 { return narrow ? <f64>load<f32>(p) : load<f64>(p) }

/** Two numbers side by side. */
// @ts-ignore: decorator
@inline
function pair(p: usize, narrow: bool): v128 {
  return narrow ? f64x2.promote_low_f32x4(v128.load64_zero(p)) : v128.load(p)
}

/** Two numbers of each of four rows, whose steps lie side by side, c times each: two steps of a panel. */
// @ts-ignore: decorator
@inline
function packPairs(from: usize, rowStride: usize, narrow: bool, c: v128, to: usize): void {
  const x = f64x2.mul(c, pair(from, narrow)), y = f64x2.mul(c, pair(from + rowStride, narrow))
  const z = f64x2.mul(c, pair(from + 2 * rowStride, narrow)), w = f64x2.mul(c, pair(from + 3 * rowStride, narrow))
  v128.store(to, v128.shuffle<u64>(x, y, 0, 2))
  v128.store(to, v128.shuffle<u64>(z, w, 0, 2), 16)
  v128.store(to, v128.shuffle<u64>(x, y, 1, 3), 32)
  v128.store(to, v128.shuffle<u64>(z, w, 1, 3), 48)
}

/** `rows` × `depth` numbers, c times each, into panels of four rows: dst[panel][p][r], padded with zeros. */
export function pack(src: usize, rowStride: usize, stride: usize, rows: i32, depth: i32, narrow: bool, c: f64, dst: usize): void {
  const size: usize = narrow ? 4 : 8, factor = f64x2.splat(c)
  for (let i = 0; i < rows; i += 4) {
    const full = min(4, rows - i)
    const first = src + <usize>i * rowStride
    // Pairs of steps; what is left is done one by one.
    const paired = full == 4 && stride == size ? depth & ~1 : 0
    for (let p = 0; p < paired; p += 2) {
      const from = first + <usize>p * size, to = dst + (<usize>p << 5)
      if (narrow) packPairs(from, rowStride, true, factor, to)
      else packPairs(from, rowStride, false, factor, to)
    }
    for (let r = 0; r < 4; r++) {
      let to = dst + (<usize>paired << 5) + (<usize>r << 3)
      let from = first + <usize>r * rowStride + <usize>paired * stride
      for (let p = paired; p < depth; p++) {
        store<f64>(to, r < full ? c * element(from, narrow) : 0)
        from += stride
        to += 32
      }
    }
    dst += <usize>depth << 5
  }
}

/** As pack, where the four numbers of a step lie side by side. */
export function packAcross(src: usize, stride: usize, rows: i32, depth: i32, narrow: bool, c: f64, dst: usize): void {
  const size: usize = narrow ? 4 : 8, factor = f64x2.splat(c)
  for (let i = 0; i < rows; i += 4) {
    const full = min(4, rows - i)
    let from = src + <usize>i * size
    for (let p = 0; p < depth; p++) {
      if (full < 4) for (let r = 0; r < 4; r++) store<f64>(dst + (<usize>r << 3), r < full ? c * element(from + <usize>r * size, narrow) : 0)
      else {
        v128.store(dst, f64x2.mul(factor, pair(from, narrow)))
        v128.store(dst, f64x2.mul(factor, pair(from + 2 * size, narrow)), 16)
      }
      dst += 32
      from += stride
    }
  }
}

// @ts-ignore: decorator
@inline
function accumulate(at: usize, x: v128, y: v128): void {
  v128.store(at, f64x2.add(v128.load(at), x))
  v128.store(at, f64x2.add(v128.load(at, 16), y), 16)
}

/** C (m × n, rows of `stride` bytes) += A · Bᵀ from packed panels; m and n are padded to whole panels. */
export function product(a: usize, b: usize, c: usize, m: i32, n: i32, k: i32, stride: usize): void {
  const panel = <usize>k << 5
  for (let j = 0; j < n; j += 4) {
    let x = a
    for (let i = 0; i < m; i += 4) {
      let y = b
      let c00 = f64x2.splat(0), c01 = c00, c10 = c00, c11 = c00, c20 = c00, c21 = c00, c30 = c00, c31 = c00
      const end = b + panel
      while (y < end) {
        const b0 = v128.load(y), b1 = v128.load(y, 16)
        let s = v128.load64_splat(x)
        c00 = f64x2.add(c00, f64x2.mul(s, b0))
        c01 = f64x2.add(c01, f64x2.mul(s, b1))
        s = v128.load64_splat(x, 8)
        c10 = f64x2.add(c10, f64x2.mul(s, b0))
        c11 = f64x2.add(c11, f64x2.mul(s, b1))
        s = v128.load64_splat(x, 16)
        c20 = f64x2.add(c20, f64x2.mul(s, b0))
        c21 = f64x2.add(c21, f64x2.mul(s, b1))
        s = v128.load64_splat(x, 24)
        c30 = f64x2.add(c30, f64x2.mul(s, b0))
        c31 = f64x2.add(c31, f64x2.mul(s, b1))
        x += 32
        y += 32
      }
      let to = c + <usize>i * stride + (<usize>j << 3)
      accumulate(to, c00, c01)
      accumulate(to += stride, c10, c11)
      accumulate(to += stride, c20, c21)
      accumulate(to += stride, c30, c31)
    }
    b += panel
  }
}

/** m × n numbers from anywhere to a tile with rows of `tileStride` bytes. */
export function loadTile(tile: usize, tileStride: usize, c: usize, rowStride: usize, stride: usize, m: i32, n: i32, narrow: bool): void {
  for (let i = 0; i < m; i++) {
    let from = c + <usize>i * rowStride
    const to = tile + <usize>i * tileStride
    if (!narrow && stride == 8) {
      memory.copy(to, from, <usize>n << 3)
      continue
    }
    for (let j = 0; j < n; j++) {
      store<f64>(to + (<usize>j << 3), element(from, narrow))
      from += stride
    }
  }
}

/** The other way. */
export function storeTile(
  tile: usize, tileStride: usize, c: usize, rowStride: usize, stride: usize, m: i32, n: i32, narrow: bool,
): void {
  for (let i = 0; i < m; i++) {
    let to = c + <usize>i * rowStride
    const from = tile + <usize>i * tileStride
    if (!narrow && stride == 8) {
      memory.copy(to, from, <usize>n << 3)
      continue
    }
    for (let j = 0; j < n; j++) {
      const x = load<f64>(from + (<usize>j << 3))
      if (narrow) store<f32>(to, <f32>x)
      else store<f64>(to, x)
      to += stride
    }
  }
}

/** Of a symmetric float64 matrix the tile's elements (i, j) with j ≤ i, and their mirror images. `i0`, `j0`: where it begins. */
export function storeSymmetric(tile: usize, tileStride: usize, c: usize, rowStride: usize, i0: i32, j0: i32, m: i32, n: i32): void {
  for (let i = 0; i < m; i++) {
    const count = min(n, i0 + i - j0 + 1)
    const from = tile + <usize>i * tileStride
    let to = c + <usize>(i0 + i) * rowStride + (<usize>j0 << 3)
    let mirror = c + <usize>j0 * rowStride + (<usize>(i0 + i) << 3)
    for (let j = 0; j < count; j++) {
      const x = load<f64>(from + (<usize>j << 3))
      store<f64>(to, x)
      store<f64>(mirror, x)
      to += 8
      mirror += rowStride
    }
  }
}
