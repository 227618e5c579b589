/**
 * linear: out = Σ c_i x_i.  task: out = base + Σ c_i (x_i − base).
 * S is the storage of inputs, base and output, C the compute type (f32 or f64): one source, so a fused kernel does
 * the very operations of the unfused one. The sum starts with the first product; a sum of nothing is 0.
 */
import { base, coefficients, input, inputCount, inputs, output } from './context'
import { BF16, F16, F32, F64, at } from './storage'

// @ts-ignore: decorator
@inline
function read<S>(p: usize, one: bool): v128 {
  return one ? at<S>().load1(p) : at<S>().load(p)
}

// @ts-ignore: decorator
@inline
function term<S, C>(p: usize, coefficient: v128, origin: v128, task: bool, one: bool): v128 {
  const x = read<S>(p, one)
  return v128.mul<C>(coefficient, task ? v128.sub<C>(x, origin) : x)
}

/** Coefficients are rounded to the compute type once, here. */
// @ts-ignore: decorator
@inline
function coefficient<C>(p: usize, index: usize): v128 {
  return v128.splat<C>(<C>load<f64>(p + (index << 3)))
}

/** For 1 to 3 inputs: pointers and coefficients stay in registers. `count` is a constant where this is inlined. */
// @ts-ignore: decorator
@inline
function few<S, C>(context: usize, n: usize, count: u32, task: bool): void {
  const bytes = at<S>().bytes, vector = <usize>(16 / <i32>sizeof<C>()) * bytes
  const c = coefficients(context), out = output(context), b = base(context)
  const p0 = input(context, 0), c0 = coefficient<C>(c, 0)
  const p1 = count > 1 ? input(context, 1) : 0, c1 = count > 1 ? coefficient<C>(c, 1) : c0
  const p2 = count > 2 ? input(context, 2) : 0, c2 = count > 2 ? coefficient<C>(c, 2) : c0
  const end = n * bytes
  let o: usize = 0
  for (; o + 2 * vector <= end; o += 2 * vector) {
    const h = o + vector
    const bl = task ? read<S>(b + o, false) : c0, bh = task ? read<S>(b + h, false) : c0
    let lo = term<S, C>(p0 + o, c0, bl, task, false), hi = term<S, C>(p0 + h, c0, bh, task, false)
    if (count > 1) {
      lo = v128.add<C>(lo, term<S, C>(p1 + o, c1, bl, task, false))
      hi = v128.add<C>(hi, term<S, C>(p1 + h, c1, bh, task, false))
    }
    if (count > 2) {
      lo = v128.add<C>(lo, term<S, C>(p2 + o, c2, bl, task, false))
      hi = v128.add<C>(hi, term<S, C>(p2 + h, c2, bh, task, false))
    }
    if (task) at<S>().store2(out + o, v128.add<C>(bl, lo), v128.add<C>(bh, hi))
    else at<S>().store2(out + o, lo, hi)
  }
  rest<S, C>(context, o / bytes, n, task)
}

/** Any number of inputs, in blocks of four vectors, so that a coefficient once fetched serves all four. */
function many<S, C>(context: usize, n: usize, task: bool): void {
  const bytes = at<S>().bytes, v = <usize>(16 / <i32>sizeof<C>()) * bytes
  const c = coefficients(context), out = output(context), b = base(context)
  const pointers = inputs(context), count = <usize>inputCount(context)
  const end = n * bytes, zero = v128.splat<C>(0)
  let o: usize = 0
  if (count > 0) {
    for (; o + 4 * v <= end; o += 4 * v) {
      const b0 = task ? read<S>(b + o, false) : zero, b1 = task ? read<S>(b + o + v, false) : zero
      const b2 = task ? read<S>(b + o + 2 * v, false) : zero, b3 = task ? read<S>(b + o + 3 * v, false) : zero
      let k = coefficient<C>(c, 0), p = <usize>load<u32>(pointers) + o
      let s0 = term<S, C>(p, k, b0, task, false), s1 = term<S, C>(p + v, k, b1, task, false)
      let s2 = term<S, C>(p + 2 * v, k, b2, task, false), s3 = term<S, C>(p + 3 * v, k, b3, task, false)
      for (let i: usize = 1; i < count; i++) {
        k = coefficient<C>(c, i)
        p = <usize>load<u32>(pointers + (i << 2)) + o
        s0 = v128.add<C>(s0, term<S, C>(p, k, b0, task, false))
        s1 = v128.add<C>(s1, term<S, C>(p + v, k, b1, task, false))
        s2 = v128.add<C>(s2, term<S, C>(p + 2 * v, k, b2, task, false))
        s3 = v128.add<C>(s3, term<S, C>(p + 3 * v, k, b3, task, false))
      }
      if (task) {
        at<S>().store2(out + o, v128.add<C>(b0, s0), v128.add<C>(b1, s1))
        at<S>().store2(out + o + 2 * v, v128.add<C>(b2, s2), v128.add<C>(b3, s3))
      } else {
        at<S>().store2(out + o, s0, s1)
        at<S>().store2(out + o + 2 * v, s2, s3)
      }
    }
  }
  rest<S, C>(context, o / bytes, n, task)
}

/** Elements from `from` on, one at a time. */
function rest<S, C>(context: usize, from: usize, n: usize, task: bool): void {
  const bytes = at<S>().bytes
  const c = coefficients(context), out = output(context), b = base(context)
  const count = <usize>inputCount(context), zero = v128.splat<C>(0)
  for (let e = from; e < n; e++) {
    const o = e * bytes
    const origin = task ? read<S>(b + o, true) : zero
    let sum = zero
    for (let i: usize = 0; i < count; i++) {
      const product = term<S, C>(input(context, i) + o, coefficient<C>(c, i), origin, task, true)
      sum = i == 0 ? product : v128.add<C>(sum, product)
    }
    at<S>().store1(out + o, task ? v128.add<C>(origin, sum) : sum)
  }
}

// @ts-ignore: decorator
@inline
function combine<S, C>(context: usize, n: usize, task: bool): void {
  const count = inputCount(context)
  if (count == 1) few<S, C>(context, n, 1, task)
  else if (count == 2) few<S, C>(context, n, 2, task)
  else if (count == 3) few<S, C>(context, n, 3, task)
  else many<S, C>(context, n, task)
}

export function linear_f32(context: usize, n: usize): void { combine<F32, f32>(context, n, false) }
export function linear_f64(context: usize, n: usize): void { combine<F64, f64>(context, n, false) }
export function linear_F16(context: usize, n: usize): void { combine<F16, f32>(context, n, false) }
export function linear_BF16(context: usize, n: usize): void { combine<BF16, f32>(context, n, false) }

export function task_f32(context: usize, n: usize): void { combine<F32, f32>(context, n, true) }
export function task_f64(context: usize, n: usize): void { combine<F64, f64>(context, n, true) }
export function task_F16(context: usize, n: usize): void { combine<F16, f32>(context, n, true) }
export function task_BF16(context: usize, n: usize): void { combine<BF16, f32>(context, n, true) }
