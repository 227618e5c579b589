/**
 * Numbers of a whole tensor from compiled formulas.
 *
 * formula_sums: for each output of the program its sum, its sum of squares, its largest element, or its sum of squares times
 *   2^-1074, for sums that float64 has no room for. In float64, on the grid of ../sums/reduce.ts. For each tile alone.
 * formula_coarse, fine, equals, nth: as in ../sparse/select.ts, but of all elements and not only of magnitudes: keys have 32
 *   bits, and the counts of `coarse` are one table of 2^16. A `model` there is an output here.
 */
import { coefficients, first, sums } from '../memory/context'
import { addTo, count } from '../memory/lanes'
import { CHUNK, TILE } from '../memory/storage'
import { SMALL } from '../sums/reduce'
import { keyOf, keysAt, lanesAt, link, outputCount, outputKind, outputOf, pad, run, splat, STRIP } from './strip'

// Kinds of outputs: the same numbers as in ../../formula.ts.
const SUM: u32 = 0, SQUARES: u32 = 1, LARGEST: u32 = 2, SMALL_SQUARES: u32 = 3

// @ts-ignore: decorator
@inline
function added(kind: u32, lane: v128, x: v128): v128 {
  if (kind == LARGEST) return f64x2.max(lane, x)
  if (kind == SUM) return f64x2.add(lane, x)
  if (kind == SMALL_SQUARES) x = f64x2.mul(x, f64x2.splat(SMALL))
  return f64x2.add(lane, f64x2.mul(x, x))
}

/** Adds n elements from v on to four lanes. The first of them goes to lane 0. */
function accumulate<C>(kind: u32, v: usize, n: usize, lanes: usize): void {
  const size = sizeof<C>()
  let l01 = v128.load(lanes), l23 = v128.load(lanes, 16)
  const end = v + (n & ~3) * size
  for (; v < end; v += 4 * size) {
    const x = v128.load(v)
    const x01 = size == 8 ? x : f64x2.promote_low_f32x4(x)
    const x23 = size == 8 ? v128.load(v, 16) : f64x2.promote_low_f32x4(v128.shuffle<u64>(x, x, 1, 1))
    l01 = added(kind, l01, x01)
    l23 = added(kind, l23, x23)
  }
  v128.store(lanes, l01)
  v128.store(lanes, l23, 16)
  for (let lane: usize = 0; lane < (n & 3); lane++, v += size) accumulateAt<C>(kind, v, lanes + (lane << 3))
}

/** Adds the element at v to the lane at p. */
function accumulateAt<C>(kind: u32, v: usize, p: usize): void {
  store<f64>(p, f64x2.extract_lane(added(kind, f64x2.splat(load<f64>(p)), f64x2.splat(<f64>load<C>(v))), 0))
}

function clear(count: u32, context: usize, lanes: usize): void {
  for (let i: u32 = 0; i < count; i++) {
    const start = f64x2.splat(outputKind(context, i) == LARGEST ? -Infinity : 0)
    v128.store(lanes + (<usize>i << 5), start)
    v128.store(lanes + (<usize>i << 5), start, 16)
  }
}

/** The lanes of a chunk, added to what its tile has so far. */
function conclude(count: u32, context: usize, lanes: usize): void {
  for (let i: u32 = 0; i < count; i++) {
    const p = lanes + (<usize>i << 5), to = sums(context) + (<usize>i << 3)
    const s0 = load<f64>(p), s1 = load<f64>(p, 8), s2 = load<f64>(p, 16), s3 = load<f64>(p, 24)
    if (outputKind(context, i) == LARGEST) store<f64>(to, max<f64>(load<f64>(to), max<f64>(max<f64>(s0, s2), max<f64>(s1, s3))))
    else addTo(to, s0 + s2 + (s1 + s3))
  }
}

/** Runs the program for the strip at `at`. Returns whether its elements are in pads. */
// @ts-ignore: decorator
@inline
function strip<C>(context: usize, at: usize, n: usize): bool {
  const size = sizeof<C>(), bytes = n * size, whole = bytes & ~15
  const along = at * size
  if (whole == 0) {
    pad<C>(context, along, bytes)
    run<C>(context, along, 16, at)
    return true
  }
  link<C>(context, false)
  run<C>(context, along, whole, at)
  return false
}

/** So many elements come next: a strip, or what is left of whole vectors, or the last few. */
// @ts-ignore: decorator
@inline
function nextOf<C>(left: usize): usize {
  const vector = 16 / sizeof<C>()
  if (left < <usize>vector) return left
  return min(STRIP, left - (left % <usize>vector))
}

// @ts-ignore: decorator
@inline
function measure<C>(context: usize, n: usize): void {
  const count = outputCount(context), lanes = lanesAt<C>(context)
  // A tile's numbers begin at 0, which is no start for the largest.
  if (first(context) % <u64>TILE == 0)
    for (let i: u32 = 0; i < count; i++)
      if (outputKind(context, i) == LARGEST) store<f64>(sums(context) + (<usize>i << 3), -Infinity)
  splat<C>(context)
  for (let at: usize = 0, m: usize = 0; at < n; at += m) {
    m = nextOf<C>(n - at)
    if (at % CHUNK == 0) clear(count, context, lanes)
    const pads = strip<C>(context, at, m)
    for (let i: u32 = 0; i < count; i++) {
      const v = outputOf<C>(context, i, at * sizeof<C>(), pads), lane = at & 3
      // Only the last element of an odd number of float64 begins in the middle of the lanes.
      if (lane == 0) accumulate<C>(outputKind(context, i), v, m, lanes + (<usize>i << 5))
      else accumulateAt<C>(outputKind(context, i), v, lanes + (<usize>i << 5) + (lane << 3))
    }
    if ((at + m) % CHUNK == 0 || at + m == n) conclude(count, context, lanes)
  }
}

export function formula_sums_f32(context: usize, n: usize): void { measure<f32>(context, n) }
export function formula_sums_f64(context: usize, n: usize): void { measure<f64>(context, n) }

/** Keys of the m elements from `at` on of an output. The program has run for them. */
function keys<C>(context: usize, index: usize, at: usize, m: usize, pads: bool): usize {
  const v = outputOf<C>(context, index, at * sizeof<C>(), pads), to = keysAt<C>(context)
  for (let i: usize = 0; i < m; i++) store<u32>(to + (i << 2), keyOf<C>(load<C>(v + i * sizeof<C>())))
  return to
}

const COARSE: i32 = 0, FINE: i32 = 1, EQUALS: i32 = 2, NTH: i32 = 3

/** Bytes of an entry in the coefficients, by step. */
// @ts-ignore: decorator
@inline
function entryBytes(step: i32): usize { return step == COARSE ? 8 : step == FINE ? 24 : 16 }

// @ts-ignore: decorator
@inline
function coarse(p: usize, end: usize, counts: usize): void {
  for (; p < end; p += 4) count(counts + (<usize>(load<u32>(p) >> 16) << 2))
}

// @ts-ignore: decorator
@inline
function fine(p: usize, end: usize, counts: usize, bucket: u32): void {
  for (; p < end; p += 4) if (load<u32>(p) >> 16 == bucket) count(counts + (<usize>(load<u32>(p) & 0xffff) << 2))
}

// @ts-ignore: decorator
@inline
function equals(p: usize, end: usize, to: usize, key: u32): void {
  let found: u32 = 0
  for (; p < end; p += 4) found += u32(load<u32>(p) == key)
  store<f64>(to, load<f64>(to) + <f64>found)
}

/** The first sum: the index after the last of so many elements with a key. The second counts what was seen so far. */
// @ts-ignore: decorator
@inline
function nth(p: usize, end: usize, to: usize, key: u32, wanted: f64, index: u64): void {
  for (let seen = load<f64>(to, 8); p < end && seen < wanted; p += 4, index++) {
    if (load<u32>(p) != key) continue
    seen += 1
    if (seen == wanted) store<f64>(to, <f64>(index + 1))
    store<f64>(to, seen, 8)
  }
}

/** `step` is a constant where this is inlined. */
// @ts-ignore: decorator
@inline
function select<C>(step: i32, context: usize, n: usize): void {
  const list = coefficients(context), out = sums(context)
  const entries = step == NTH ? <usize>1 : <usize>load<f64>(list), start = step == NTH ? list : list + 8
  splat<C>(context)
  for (let at: usize = 0, m: usize = 0; at < n; at += m) {
    m = nextOf<C>(n - at)
    const pads = strip<C>(context, at, m)
    for (let e: usize = 0; e < entries; e++) {
      const entry = start + e * entryBytes(step)
      if (step == EQUALS && load<f64>(entry, 8) < 0) continue
      const p = keys<C>(context, <usize>load<f64>(entry), at, m, pads), end = p + (m << 2)
      if (step == COARSE) coarse(p, end, out + (e << 18))
      else if (step == FINE) fine(p, end, out + (<usize>load<f64>(entry, 16) << 18), <u32>load<f64>(entry, 8))
      else if (step == EQUALS) equals(p, end, out + (e << 3), <u32>load<f64>(entry, 8))
      else nth(p, end, out, <u32>load<f64>(entry, 8), load<f64>(entry, 16), first(context) + at)
    }
  }
}

export function formula_coarse_f32(context: usize, n: usize): void { select<f32>(COARSE, context, n) }
export function formula_coarse_f64(context: usize, n: usize): void { select<f64>(COARSE, context, n) }
export function formula_fine_f32(context: usize, n: usize): void { select<f32>(FINE, context, n) }
export function formula_fine_f64(context: usize, n: usize): void { select<f64>(FINE, context, n) }
export function formula_equals_f32(context: usize, n: usize): void { select<f32>(EQUALS, context, n) }
export function formula_equals_f64(context: usize, n: usize): void { select<f64>(EQUALS, context, n) }
export function formula_nth_f32(context: usize, n: usize): void { select<f32>(NTH, context, n) }
export function formula_nth_f64(context: usize, n: usize): void { select<f64>(NTH, context, n) }
