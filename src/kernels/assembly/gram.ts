/**
 * Dot products of the inputs with each other, of their differences from the base where there is one: exactly widened
 * differences of the compute type, summed in float64 on the grid of reduce.ts. More elements than a tile are a long row:
 * its sums are taken tile by tile, counted from where it starts.
 */
import { base, coefficients, input, inputCount, sums } from './context'
import { addTo, total } from './lanes'
import { CHUNK } from './storage'

const TILE: usize = 1 << 18

// @ts-ignore: decorator
@inline
function minus<C>(p: usize, origin: usize): v128 {
  const x = v128.load(p)
  return origin ? v128.sub<C>(x, v128.load(origin)) : x
}

// @ts-ignore: decorator
@inline
function minus1<C>(p: usize, origin: usize): f64 {
  return <f64>(origin ? load<C>(p) - load<C>(origin) : load<C>(p))
}

// @ts-ignore: decorator
@inline
function high(x: v128): v128 { return f64x2.promote_low_f32x4(v128.shuffle<u64>(x, x, 1, 1)) }

/** Σ (x − b)(y − b) of a chunk. */
function chunkDot<C>(x: usize, y: usize, b: usize, n: usize): f64 {
  const size = sizeof<C>(), end = x + (n & ~3) * size
  let s01 = f64x2.splat(0), s23 = s01
  while (x < end) {
    const p = minus<C>(x, b), q = minus<C>(y, b)
    if (sizeof<C>() == 4) {
      s01 = f64x2.add(s01, f64x2.mul(f64x2.promote_low_f32x4(p), f64x2.promote_low_f32x4(q)))
      s23 = f64x2.add(s23, f64x2.mul(high(p), high(q)))
    } else {
      s01 = f64x2.add(s01, f64x2.mul(p, q))
      s23 = f64x2.add(s23, f64x2.mul(minus<C>(x + 16, b ? b + 16 : 0), minus<C>(y + 16, b ? b + 16 : 0)))
    }
    x += 4 * size
    y += 4 * size
    if (b) b += 4 * size
  }
  const left = n & 3
  if (left > 0) {
    const p0 = minus1<C>(x, b) * minus1<C>(y, b)
    const p1 = left > 1 ? minus1<C>(x + size, b ? b + size : 0) * minus1<C>(y + size, b ? b + size : 0) : 0
    const p2 = left > 2 ? minus1<C>(x + 2 * size, b ? b + 2 * size : 0) * minus1<C>(y + 2 * size, b ? b + 2 * size : 0) : 0
    s01 = f64x2.add(s01, f64x2(p0, p1))
    s23 = f64x2.add(s23, f64x2(p2, 0))
  }
  return total(s01, s23)
}

function dot<C>(x: usize, y: usize, b: usize, n: usize, out: usize): void {
  const size = sizeof<C>()
  for (let tile: usize = 0; tile < n; tile += TILE) {
    const end = min(tile + TILE, n)
    // One chunk by itself is added to what is there; of more the tile's sum comes first.
    let part: f64 = 0
    for (let at = tile; at < end; at += CHUNK) {
      part += chunkDot<C>(x + at * size, y + at * size, b ? b + at * size : 0, min(CHUNK, end - at))
    }
    addTo(out, part)
  }
}

// @ts-ignore: decorator
@inline
function gram<C>(context: usize, n: usize, squares: bool): void {
  const count = inputCount(context), b = base(context)
  let out = sums(context)
  for (let i: u32 = 0; i < count; i++) {
    const end = squares ? i + 1 : count
    for (let j = i; j < end; j++) {
      dot<C>(input(context, i), input(context, j), b, n, out)
      out += 8
    }
  }
}

export function gram_f32(context: usize, n: usize): void { gram<f32>(context, n, false) }
export function gram_f64(context: usize, n: usize): void { gram<f64>(context, n, false) }
export function squares_f32(context: usize, n: usize): void { gram<f32>(context, n, true) }
export function squares_f64(context: usize, n: usize): void { gram<f64>(context, n, true) }

/** By column (index mod the number of columns, which is the coefficient): the gram of two inputs, in the order of the rows. */
// @ts-ignore: decorator
@inline
function columnDots<C>(context: usize, n: usize): void {
  const columns = <u64>load<f64>(coefficients(context)), out = sums(context), size = sizeof<C>()
  let a = input(context, 0), c = input(context, 1), b = base(context)
  let column = load<u64>(context, 24) % columns
  for (const end = a + n * size; a < end; a += size) {
    const x = minus1<C>(a, b), y = minus1<C>(c, b), p = out + <usize>column * 24
    addTo(p, x * x)
    addTo(p + 8, x * y)
    addTo(p + 16, y * y)
    c += size
    if (b) b += size
    if (++column == columns) column = 0
  }
}

export function columnDots_f32(context: usize, n: usize): void { columnDots<f32>(context, n) }
export function columnDots_f64(context: usize, n: usize): void { columnDots<f64>(context, n) }
