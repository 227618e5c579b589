/**
 * linear: out = Σ c_i x_i.  task: out = base + Σ c_i (x_i − base).
 * S is the storage of inputs, base and output, C the compute type (f32 or f64): one source, so a fused kernel does
 * the very operations of the unfused one. The sum starts with the first product; a sum of nothing is 0.
 *
 * A chunk is done in blocks of two vectors that are stored without regard to NaN, while a running sum of all results
 * notices whether there was one (infinities of both signs look like it: no harm). If so the chunk is done again,
 * element by element, with NaN made canonical. Looking at each result costs a quarter of the speed.
 *
 * Element by element an infinity that all inputs share (and the base) comes out as it is: of a task vector it is no difference,
 * and of a sum the limit is taken.
 */
import { base, coefficients, input, inputCount, inputs, output } from '../memory/context'
import { limitOf, minus } from '../memory/equal'
import { BF16, CHUNK, F16, F32, F64, at } from '../memory/storage'

// @ts-ignore: decorator
@inline
function term<C>(x: v128, coefficient: v128, origin: v128, task: bool): v128 {
  return v128.mul<C>(coefficient, task ? v128.sub<C>(x, origin) : x)
}

const SCRATCH = memory.data(8, 8)

/**
 * Coefficients are rounded to the compute type once, here. They go through memory since V8 moves a conversion into the
 * loop that uses it, but not a load.
 */
// @ts-ignore: decorator
@inline
function coefficient<C>(p: usize, index: usize): v128 {
  store<C>(SCRATCH, <C>load<f64>(p + (index << 3)))
  return v128.load_splat<C>(SCRATCH)
}

/** Bytes that the elements of two vectors take in memory. */
// @ts-ignore: decorator
@inline
function blockBytes<S, C>(): usize { return <usize>(32 / <i32>sizeof<C>()) * at<S>().bytes }

// @ts-ignore: decorator
@inline
function hasNaN<C>(x: v128): bool { return v128.any_true(v128.ne<C>(x, x)) }

/**
 * Whole blocks from byte `o` to byte `end`, of 1 to 3 inputs: pointers and coefficients stay in registers. `count` is a
 * constant where this is inlined. True if a result may be NaN.
 */
// @ts-ignore: decorator
@inline
function few<S, C>(context: usize, o: usize, end: usize, count: u32, task: bool): bool {
  const block = blockBytes<S, C>()
  const c = coefficients(context), out = output(context), b = base(context)
  const p0 = input(context, 0), c0 = coefficient<C>(c, 0)
  const p1 = count > 1 ? input(context, 1) : 0, c1 = count > 1 ? coefficient<C>(c, 1) : c0
  const p2 = count > 2 ? input(context, 2) : 0, c2 = count > 2 ? coefficient<C>(c, 2) : c0
  const s = at<S>()
  let seen0 = v128.splat<C>(0), seen1 = seen0
  for (; o < end; o += block) {
    const base0 = task ? s.half0(b + o) : c0, base1 = task ? s.half1(b + o) : c0
    let r0 = term<C>(s.half0(p0 + o), c0, base0, task), r1 = term<C>(s.half1(p0 + o), c0, base1, task)
    if (count > 1) {
      r0 = v128.add<C>(r0, term<C>(s.half0(p1 + o), c1, base0, task))
      r1 = v128.add<C>(r1, term<C>(s.half1(p1 + o), c1, base1, task))
    }
    if (count > 2) {
      r0 = v128.add<C>(r0, term<C>(s.half0(p2 + o), c2, base0, task))
      r1 = v128.add<C>(r1, term<C>(s.half1(p2 + o), c2, base1, task))
    }
    if (task) {
      r0 = v128.add<C>(base0, r0)
      r1 = v128.add<C>(base1, r1)
    }
    seen0 = v128.add<C>(seen0, r0)
    seen1 = v128.add<C>(seen1, r1)
    s.join(out + o, r0, r1)
  }
  return hasNaN<C>(v128.add<C>(seen0, seen1))
}

/** The same for any number of inputs but 0, two blocks at a time, so that a coefficient once fetched serves both. */
function many<S, C>(context: usize, o: usize, end: usize, task: bool): bool {
  const block = blockBytes<S, C>()
  const c = coefficients(context), out = output(context), b = base(context)
  const pointers = inputs(context), count = <usize>inputCount(context)
  const s = at<S>(), zero = v128.splat<C>(0)
  let seen0 = zero, seen1 = zero
  for (; o < end; o += 2 * block) {
    const base0 = task ? s.half0(b + o) : zero, base2 = task ? s.half0(b + o + block) : zero
    const base1 = task ? s.half1(b + o) : zero, base3 = task ? s.half1(b + o + block) : zero
    let k = v128.splat<C>(<C>load<f64>(c)), p = <usize>load<u32>(pointers) + o
    let r0 = term<C>(s.half0(p), k, base0, task), r2 = term<C>(s.half0(p + block), k, base2, task)
    let r1 = term<C>(s.half1(p), k, base1, task), r3 = term<C>(s.half1(p + block), k, base3, task)
    for (let i: usize = 1; i < count; i++) {
      k = v128.splat<C>(<C>load<f64>(c + (i << 3)))
      p = <usize>load<u32>(pointers + (i << 2)) + o
      r0 = v128.add<C>(r0, term<C>(s.half0(p), k, base0, task))
      r1 = v128.add<C>(r1, term<C>(s.half1(p), k, base1, task))
      r2 = v128.add<C>(r2, term<C>(s.half0(p + block), k, base2, task))
      r3 = v128.add<C>(r3, term<C>(s.half1(p + block), k, base3, task))
    }
    if (task) {
      r0 = v128.add<C>(base0, r0)
      r1 = v128.add<C>(base1, r1)
      r2 = v128.add<C>(base2, r2)
      r3 = v128.add<C>(base3, r3)
    }
    seen0 = v128.add<C>(seen0, v128.add<C>(r0, r2))
    seen1 = v128.add<C>(seen1, v128.add<C>(r1, r3))
    s.join(out + o, r0, r1)
    s.join(out + o + block, r2, r3)
  }
  return hasNaN<C>(v128.add<C>(seen0, seen1))
}

// @ts-ignore: decorator
@inline
function lane0<C>(x: v128): C { return sizeof<C>() == 8 ? <C>f64x2.extract_lane(x, 0) : <C>f32x4.extract_lane(x, 0) }

/** The limit of the sum where all inputs are the same infinity, else the sum. */
function shared<S, C>(context: usize, o: usize, sum: v128): v128 {
  const c = coefficients(context), count = <usize>inputCount(context)
  if (count == 0) return sum
  const x = lane0<C>(at<S>().load1(input(context, 0) + o))
  let total: f64 = 0, magnitude: f64 = 0
  for (let i: usize = 0; i < count; i++) {
    if (lane0<C>(at<S>().load1(input(context, i) + o)) != x) return sum
    total += load<f64>(c + (i << 3))
    magnitude += abs<f64>(load<f64>(c + (i << 3)))
  }
  return v128.splat<C>(limitOf<C>(x, total, magnitude))
}

/** Elements from byte `o` to byte `end`, one at a time, for all that the blocks leave over. */
function single<S, C>(context: usize, o: usize, end: usize, task: bool): void {
  const s = at<S>()
  const c = coefficients(context), out = output(context), b = base(context)
  const count = <usize>inputCount(context), zero = v128.splat<C>(0)
  for (; o < end; o += s.bytes) {
    const origin = task ? s.load1(b + o) : zero
    let sum = zero
    for (let i: usize = 0; i < count; i++) {
      const x = s.load1(input(context, i) + o)
      const product = v128.mul<C>(coefficient<C>(c, i), task ? minus<C>(x, origin) : x)
      sum = i == 0 ? product : v128.add<C>(sum, product)
    }
    if (!task && lane0<C>(sum) != lane0<C>(sum)) sum = shared<S, C>(context, o, sum)
    s.store1(out + o, task ? v128.add<C>(origin, sum) : sum)
  }
}

// @ts-ignore: decorator
@inline
function combine<S, C>(context: usize, n: usize, task: bool): void {
  const count = inputCount(context), bytes = at<S>().bytes, total = n * bytes
  for (let o: usize = 0; o < total; o += CHUNK * bytes) {
    const end = min(o + CHUNK * bytes, total), length = end - o
    const step = (count > 3 ? <usize>2 : <usize>1) * blockBytes<S, C>()
    const whole = o + (count == 0 ? 0 : length - (length % step))
    let again = false
    if (count == 1) again = few<S, C>(context, o, whole, 1, task)
    else if (count == 2) again = few<S, C>(context, o, whole, 2, task)
    else if (count == 3) again = few<S, C>(context, o, whole, 3, task)
    else if (count > 3) again = many<S, C>(context, o, whole, task)
    single<S, C>(context, again ? o : whole, end, task)
  }
}

export function linear_f32(context: usize, n: usize): void { combine<F32, f32>(context, n, false) }
export function linear_f64(context: usize, n: usize): void { combine<F64, f64>(context, n, false) }
export function linear_F16(context: usize, n: usize): void { combine<F16, f32>(context, n, false) }
export function linear_BF16(context: usize, n: usize): void { combine<BF16, f32>(context, n, false) }

export function task_f32(context: usize, n: usize): void { combine<F32, f32>(context, n, true) }
export function task_f64(context: usize, n: usize): void { combine<F64, f64>(context, n, true) }
export function task_F16(context: usize, n: usize): void { combine<F16, f32>(context, n, true) }
export function task_BF16(context: usize, n: usize): void { combine<BF16, f32>(context, n, true) }
