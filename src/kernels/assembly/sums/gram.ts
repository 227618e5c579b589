/**
 * Dot products of the inputs with each other, of their differences from the base where there is one: exactly widened
 * differences of the compute type, summed in float64 on the grid of reduce.ts. More elements than a tile are a long row:
 * its sums are taken tile by tile, counted from where it starts.
 */
import { base, coefficients, input, inputCount, sums } from '../memory/context'
import { isFinite1, isShared, minus, minus1 as difference } from '../memory/equal'
import { addTo, total } from '../memory/lanes'
import { SMALL } from './reduce'
import { CHUNK, TILE } from '../memory/storage'

// @ts-ignore: decorator
@inline
function minusAt<C>(p: usize, origin: usize): v128 {
  const x = v128.load(p)
  return origin ? minus<C>(x, v128.load(origin)) : x
}

// @ts-ignore: decorator
@inline
function minus1<C>(p: usize, origin: usize): f64 {
  return <f64>(origin ? difference<C>(load<C>(p), load<C>(origin)) : load<C>(p))
}

// @ts-ignore: decorator
@inline
function high(x: v128): v128 { return f64x2.promote_low_f32x4(v128.shuffle<u64>(x, x, 1, 1)) }

/** Σ (x − b)(y − b) of a chunk. */
function chunkDot<C>(x: usize, y: usize, b: usize, n: usize): f64 {
  const size = sizeof<C>(), end = x + (n & ~3) * size
  let s01 = f64x2.splat(0), s23 = s01
  while (x < end) {
    const p = minusAt<C>(x, b), q = minusAt<C>(y, b)
    if (sizeof<C>() == 4) {
      s01 = f64x2.add(s01, f64x2.mul(f64x2.promote_low_f32x4(p), f64x2.promote_low_f32x4(q)))
      s23 = f64x2.add(s23, f64x2.mul(high(p), high(q)))
    } else {
      s01 = f64x2.add(s01, f64x2.mul(p, q))
      s23 = f64x2.add(s23, f64x2.mul(minusAt<C>(x + 16, b ? b + 16 : 0), minusAt<C>(y + 16, b ? b + 16 : 0)))
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

/** The same without elements that are not finite and the same in every input, on the same lanes. */
function sharedDot<C>(context: usize, x: usize, y: usize, o: usize, n: usize): f64 {
  let l0: f64 = 0, l1: f64 = 0, l2: f64 = 0, l3: f64 = 0
  for (let i: usize = 0; i < n; i++) {
    const at = o + i * sizeof<C>()
    if (isShared<C>(context, at)) continue
    const term = <f64>load<C>(x + at) * <f64>load<C>(y + at)
    if ((i & 3) == 0) l0 += term
    else if ((i & 3) == 1) l1 += term
    else if ((i & 3) == 2) l2 += term
    else l3 += term
  }
  return l0 + l2 + (l1 + l3)
}

function dot<C>(context: usize, x: usize, y: usize, b: usize, n: usize, out: usize): void {
  const size = sizeof<C>()
  for (let tile: usize = 0; tile < n; tile += TILE) {
    const end = min(tile + TILE, n)
    // One chunk by itself is added to what is there; of more the tile's sum comes first.
    let part: f64 = 0
    for (let at = tile; at < end; at += CHUNK) {
      const length = min(CHUNK, end - at)
      let sum = chunkDot<C>(x + at * size, y + at * size, b ? b + at * size : 0, length)
      if (!b && !isFinite1<f64>(sum)) sum = sharedDot<C>(context, x, y, at * size, length)
      part += sum
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
      dot<C>(context, input(context, i), input(context, j), b, n, out)
      out += 8
    }
  }
}

/**
 * The gram of float64 inputs times 2^-537 each: for norms that float64 has no room for. Element by element, without those that
 * are not finite and the same in every input.
 */
export function gram_small_f64(context: usize, n: usize): void {
  const count = inputCount(context), b = base(context)
  for (let o: usize = 0; o < n << 3; o += 8) {
    if (!b && isShared<f64>(context, o)) continue
    const origin = b ? b + o : 0
    let out = sums(context)
    for (let i: u32 = 0; i < count; i++) {
      const x = minus1<f64>(input(context, i) + o, origin) * SMALL
      for (let j = i; j < count; j++, out += 8) addTo(out, x * (minus1<f64>(input(context, j) + o, origin) * SMALL))
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
    let x = minus1<C>(a, b), y = minus1<C>(c, b)
    const p = out + <usize>column * 24
    // The same infinity in both says nothing of an angle.
    if (!b && !isFinite1<f64>(x) && x == y) x = y = 0
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
