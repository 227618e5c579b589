// A product of low rank added to a matrix: the update of an adapter. Rows of the left factor come in packed groups of four
// (k numbers a row, four rows side by side), columns of the right one in packed panels of PANEL bytes. An element is
// x + scale · Σ l·r, the sum a chain over k in order that begins with +0, each operation rounded; where scale · Σ is 0 it
// is x, bit for bit. So neither the place of an element in groups, panels or ranges shows, nor its neighbours.
// S is the storage of x, T the compute type.
import { BF16, F16, F32, F64, at } from '../memory/storage'

/** Bytes of a panel's row: 8 float32, 4 float64. */
const PANEL: usize = 32
const GROUP: i32 = 4

/** One vector of a row: `x` and `out` are where its elements lie. */
// @ts-ignore: decorator
@inline
function finish<S, T>(out: usize, x: usize, sum: v128, scale: v128): void {
  const before = at<S>().load(x)
  const change = v128.mul<T>(sum, scale)
  // Where nothing changes, adding has left all bits but the sign of a −0.
  v128.store(out, v128.or(v128.add<T>(before, change), v128.and(before, v128.eq<T>(change, v128.splat<T>(0)))))
}

/** The two vectors of a row that lie in one panel. */
// @ts-ignore: decorator
@inline
function finish2<S, T>(out: usize, x: usize, sum0: v128, sum1: v128, scale: v128): void {
  finish<S, T>(out, x, sum0, scale)
  finish<S, T>(out + 16, x + (16 / sizeof<T>()) * at<S>().bytes, sum1, scale)
}

/** Four rows of one panel: what every step of k adds. */
// @ts-ignore: decorator
@inline
function block<S, T>(out: usize, x: usize, stride: usize, step: usize, l: usize, r: usize, k: usize, scale: v128): void {
  let c00 = f64x2.splat(0), c01 = c00, c10 = c00, c11 = c00, c20 = c00, c21 = c00, c30 = c00, c31 = c00
  const end = r + k * PANEL
  for (; r < end; r += PANEL) {
    const r0 = v128.load(r), r1 = v128.load(r, 16)
    let s = v128.load_splat<T>(l)
    c00 = v128.add<T>(c00, v128.mul<T>(s, r0))
    c01 = v128.add<T>(c01, v128.mul<T>(s, r1))
    s = v128.load_splat<T>(l, sizeof<T>())
    c10 = v128.add<T>(c10, v128.mul<T>(s, r0))
    c11 = v128.add<T>(c11, v128.mul<T>(s, r1))
    s = v128.load_splat<T>(l, 2 * sizeof<T>())
    c20 = v128.add<T>(c20, v128.mul<T>(s, r0))
    c21 = v128.add<T>(c21, v128.mul<T>(s, r1))
    s = v128.load_splat<T>(l, 3 * sizeof<T>())
    c30 = v128.add<T>(c30, v128.mul<T>(s, r0))
    c31 = v128.add<T>(c31, v128.mul<T>(s, r1))
    l += <usize>GROUP * sizeof<T>()
  }
  finish2<S, T>(out, x, c00, c01, scale)
  finish2<S, T>(out + stride, x + step, c10, c11, scale)
  finish2<S, T>(out + 2 * stride, x + 2 * step, c20, c21, scale)
  finish2<S, T>(out + 3 * stride, x + 3 * step, c30, c31, scale)
}

/** One row of four panels, `step` bytes from one to the next. */
// @ts-ignore: decorator
@inline
function row<S, T>(out: usize, x: usize, l: usize, r: usize, step: usize, k: usize, scale: v128): void {
  let c00 = f64x2.splat(0), c01 = c00, c10 = c00, c11 = c00, c20 = c00, c21 = c00, c30 = c00, c31 = c00
  const end = r + k * PANEL
  for (; r < end; r += PANEL) {
    const s = v128.load_splat<T>(l)
    c00 = v128.add<T>(c00, v128.mul<T>(s, v128.load(r)))
    c01 = v128.add<T>(c01, v128.mul<T>(s, v128.load(r, 16)))
    c10 = v128.add<T>(c10, v128.mul<T>(s, v128.load(r + step)))
    c11 = v128.add<T>(c11, v128.mul<T>(s, v128.load(r + step, 16)))
    c20 = v128.add<T>(c20, v128.mul<T>(s, v128.load(r + 2 * step)))
    c21 = v128.add<T>(c21, v128.mul<T>(s, v128.load(r + 2 * step, 16)))
    c30 = v128.add<T>(c30, v128.mul<T>(s, v128.load(r + 3 * step)))
    c31 = v128.add<T>(c31, v128.mul<T>(s, v128.load(r + 3 * step, 16)))
    l += <usize>GROUP * sizeof<T>()
  }
  const panel = (PANEL / sizeof<T>()) * at<S>().bytes
  finish2<S, T>(out, x, c00, c01, scale)
  finish2<S, T>(out + PANEL, x + panel, c10, c11, scale)
  finish2<S, T>(out + 2 * PANEL, x + 2 * panel, c20, c21, scale)
  finish2<S, T>(out + 3 * PANEL, x + 3 * panel, c30, c31, scale)
}

// @ts-ignore: decorator
@inline
function element<S, T>(out: usize, x: usize, l: usize, r: usize, k: usize, scale: T): void {
  let sum: T = 0
  const end = r + k * PANEL
  for (; r < end; r += PANEL) {
    sum += load<T>(l) * load<T>(r)
    l += <usize>GROUP * sizeof<T>()
  }
  const before = at<S>().load1(x)
  const change = v128.splat<T>(sum * scale)
  const after = v128.bitselect(before, v128.add<T>(before, change), v128.eq<T>(change, v128.splat<T>(0)))
  if (sizeof<T>() == 4) v128.store32_lane(out, after, 0)
  else v128.store64_lane(out, after, 0)
}

// @ts-ignore: decorator
@inline
function addProduct<S, T>(x: usize, out: usize, columns: usize, rows: i32, from: i32, to: i32, l: usize, r: usize, k: usize, scale: T): void {
  const width = <i32>(PANEL / sizeof<T>())
  const size = at<S>().bytes
  const stride = columns * sizeof<T>(), step = columns * size
  const panel = k * PANEL
  const group = k * <usize>GROUP * sizeof<T>()
  const factor = v128.splat<T>(scale)
  const first = min(to, (from + width - 1) / width * width)
  const last = max(first, to / width * width)
  const even = rows / GROUP * GROUP
  // Panels within groups: rows lie so far apart that many of them at once would share few lines of the first-level cache.
  for (let i = 0, left = l; i < even; i += GROUP, left += group) {
    let own = out + <usize>i * stride + <usize>(first - from) * sizeof<T>()
    let stored = x + <usize>i * step + <usize>(first - from) * size
    let right = r + <usize>(first / width) * panel
    for (let j = first; j < last; j += width) {
      block<S, T>(own, stored, stride, step, left, right, k, factor)
      own += PANEL
      stored += <usize>width * size
      right += panel
    }
  }
  for (let i = 0; i < rows; i++) {
    const left = l + <usize>(i / GROUP) * group + <usize>(i % GROUP) * sizeof<T>()
    const own = out + <usize>i * stride - <usize>from * sizeof<T>()
    const stored = x + <usize>i * step - <usize>from * size
    for (let j = from; j < to; j++) {
      if (j == first) {
        // Whole panels; those of rows in groups are done.
        if (i >= even)
          for (; j + 4 * width <= last; j += 4 * width)
            row<S, T>(own + <usize>j * sizeof<T>(), stored + <usize>j * size, left, r + <usize>(j / width) * panel, panel, k, factor)
        else j = last
        if (j >= to) break
      }
      const right = r + <usize>(j / width) * panel + <usize>(j % width) * sizeof<T>()
      element<S, T>(own + <usize>j * sizeof<T>(), stored + <usize>j * size, left, right, k, scale)
    }
  }
}

/**
 * Rows of `columns` elements, of each of them those from column `from` to before `to`: `x` and `out` are where the first of these
 * lies. In the compute type they may be the same.
 */
export function addProduct_BF16_f32(x: usize, out: usize, columns: usize, rows: i32, from: i32, to: i32, l: usize, r: usize, k: usize, scale: f64): void {
  addProduct<BF16, f32>(x, out, columns, rows, from, to, l, r, k, <f32>scale)
}
export function addProduct_F16_f32(x: usize, out: usize, columns: usize, rows: i32, from: i32, to: i32, l: usize, r: usize, k: usize, scale: f64): void {
  addProduct<F16, f32>(x, out, columns, rows, from, to, l, r, k, <f32>scale)
}
export function addProduct_F32_f32(x: usize, out: usize, columns: usize, rows: i32, from: i32, to: i32, l: usize, r: usize, k: usize, scale: f64): void {
  addProduct<F32, f32>(x, out, columns, rows, from, to, l, r, k, <f32>scale)
}
export function addProduct_F64_f64(x: usize, out: usize, columns: usize, rows: i32, from: i32, to: i32, l: usize, r: usize, k: usize, scale: f64): void {
  addProduct<F64, f64>(x, out, columns, rows, from, to, l, r, k, scale)
}
