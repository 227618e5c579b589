// linear and task of up to three inputs, of which some (`wide`) are in float32 and the others, like the output, in a dtype of
// half its width: the very operations of map.ts, block by block, so that what is stored need not be decoded first.
import { base, coefficients, input, inputCount, output, wide } from '../memory/context'
import { limitOf, minus } from '../memory/equal'
import { BF16, CHUNK, F16, at } from '../memory/storage'

const SCRATCH = memory.data(8, 8)
/** The bit of `wide` that is the base's. */
const BASE: u32 = 31

// @ts-ignore: decorator
@inline
function coefficient(p: usize, index: usize): v128 {
  // Through memory, as in map.ts.
  store<f32>(SCRATCH, <f32>load<f64>(p + (index << 3)))
  return v128.load32_splat(SCRATCH)
}

/** Of eight elements those with even and with odd index, as `half0` and `half1` of a stored dtype share them out. */
// @ts-ignore: decorator
@inline
function half0<S>(p: usize, e: usize, full: bool): v128 {
  if (!full) return at<S>().half0(p + e * at<S>().bytes)
  return v128.shuffle<u32>(v128.load(p + (e << 2)), v128.load(p + (e << 2), 16), 0, 2, 4, 6)
}
// @ts-ignore: decorator
@inline
function half1<S>(p: usize, e: usize, full: bool): v128 {
  if (!full) return at<S>().half1(p + e * at<S>().bytes)
  return v128.shuffle<u32>(v128.load(p + (e << 2)), v128.load(p + (e << 2), 16), 1, 3, 5, 7)
}
// @ts-ignore: decorator
@inline
function load1<S>(p: usize, e: usize, full: bool): v128 {
  return full ? v128.load32_zero(p + (e << 2)) : at<S>().load1(p + e * at<S>().bytes)
}

// @ts-ignore: decorator
@inline
function term(x: v128, factor: v128, origin: v128, task: bool): v128 {
  return f32x4.mul(factor, task ? f32x4.sub(x, origin) : x)
}

/** Whole blocks of eight elements, as `few` of map.ts does them. True if a result may be NaN. */
// @ts-ignore: decorator
@inline
function few<S>(context: usize, e: usize, end: usize, count: u32, task: bool): bool {
  const c = coefficients(context), out = output(context), b = base(context), full = wide(context)
  const fullBase = ((full >> BASE) & 1) != 0, f0 = (full & 1) != 0, f1 = (full & 2) != 0, f2 = (full & 4) != 0
  const p0 = input(context, 0), c0 = coefficient(c, 0)
  const p1 = count > 1 ? input(context, 1) : 0, c1 = count > 1 ? coefficient(c, 1) : c0
  const p2 = count > 2 ? input(context, 2) : 0, c2 = count > 2 ? coefficient(c, 2) : c0
  let seen0 = f32x4.splat(0), seen1 = seen0
  for (; e < end; e += 8) {
    const base0 = task ? half0<S>(b, e, fullBase) : c0, base1 = task ? half1<S>(b, e, fullBase) : c0
    let r0 = term(half0<S>(p0, e, f0), c0, base0, task), r1 = term(half1<S>(p0, e, f0), c0, base1, task)
    if (count > 1) {
      r0 = f32x4.add(r0, term(half0<S>(p1, e, f1), c1, base0, task))
      r1 = f32x4.add(r1, term(half1<S>(p1, e, f1), c1, base1, task))
    }
    if (count > 2) {
      r0 = f32x4.add(r0, term(half0<S>(p2, e, f2), c2, base0, task))
      r1 = f32x4.add(r1, term(half1<S>(p2, e, f2), c2, base1, task))
    }
    if (task) {
      r0 = f32x4.add(base0, r0)
      r1 = f32x4.add(base1, r1)
    }
    seen0 = f32x4.add(seen0, r0)
    seen1 = f32x4.add(seen1, r1)
    at<S>().join(out + e * at<S>().bytes, r0, r1)
  }
  const seen = f32x4.add(seen0, seen1)
  return v128.any_true(f32x4.ne(seen, seen))
}

/** As in map.ts. */
function shared<S>(context: usize, e: usize, sum: v128): v128 {
  const c = coefficients(context), full = wide(context), count = <usize>inputCount(context)
  if (count == 0) return sum
  const x = f32x4.extract_lane(load1<S>(input(context, 0), e, (full & 1) != 0), 0)
  let total: f64 = 0, magnitude: f64 = 0
  for (let i: usize = 0; i < count; i++) {
    if (f32x4.extract_lane(load1<S>(input(context, i), e, ((full >> <u32>i) & 1) != 0), 0) != x) return sum
    total += load<f64>(c + (i << 3))
    magnitude += abs<f64>(load<f64>(c + (i << 3)))
  }
  return f32x4.splat(limitOf<f32>(x, total, magnitude))
}

/** One element after the other, with NaN made canonical. */
function single<S>(context: usize, e: usize, end: usize, task: bool): void {
  const c = coefficients(context), out = output(context), b = base(context), full = wide(context)
  const count = <usize>inputCount(context), zero = f32x4.splat(0)
  for (; e < end; e++) {
    const origin = task ? load1<S>(b, e, ((full >> BASE) & 1) != 0) : zero
    let sum = zero
    for (let i: usize = 0; i < count; i++) {
      const x = load1<S>(input(context, i), e, ((full >> <u32>i) & 1) != 0)
      const product = f32x4.mul(coefficient(c, i), task ? minus<f32>(x, origin) : x)
      sum = i == 0 ? product : f32x4.add(sum, product)
    }
    const made = f32x4.extract_lane(sum, 0)
    if (!task && made != made) sum = shared<S>(context, e, sum)
    at<S>().store1(out + e * at<S>().bytes, task ? f32x4.add(origin, sum) : sum)
  }
}

// @ts-ignore: decorator
@inline
function mixed<S>(context: usize, n: usize, task: bool): void {
  const count = inputCount(context)
  for (let e: usize = 0; e < n; e += CHUNK) {
    const end = min(e + CHUNK, n)
    const whole = count == 0 ? e : end - (end & 7)
    let again = false
    if (count == 1) again = few<S>(context, e, whole, 1, task)
    else if (count == 2) again = few<S>(context, e, whole, 2, task)
    else if (count == 3) again = few<S>(context, e, whole, 3, task)
    single<S>(context, again ? e : whole, end, task)
  }
}

export function linear_mixed_BF16(context: usize, n: usize): void { mixed<BF16>(context, n, false) }
export function linear_mixed_F16(context: usize, n: usize): void { mixed<F16>(context, n, false) }
export function task_mixed_BF16(context: usize, n: usize): void { mixed<BF16>(context, n, true) }
export function task_mixed_F16(context: usize, n: usize): void { mixed<F16>(context, n, true) }
