/**
 * formula: a compiled formula for each element. Where it gives NaN, an element that is not finite and the same in all inputs
 * (and the base) comes out as it is, as in the built-in methods.
 */
import { base, inputCount, input, output } from '../memory/context'
import { isShared } from '../memory/equal'
import { link, pad, padResult, run, splat, STRIP } from './strip'

/** Every NaN of the result becomes the positive quiet one, or the element that all share. */
function mend<C>(context: usize, from: usize, end: usize): void {
  const out = output(context), several = inputCount(context) > 1 || base(context) != 0
  for (let o = from; o < end; o += sizeof<C>()) {
    const x = load<C>(out + o)
    if (x == x) continue
    const shared = several && isShared<C>(context, o) ? load<C>(input(context, 0) + o) : <C>NaN
    store<C>(out + o, shared == shared ? shared : <C>NaN)
  }
}

// @ts-ignore: decorator
@inline
function hasNaN<C>(p: usize, bytes: usize): bool {
  let seen = v128.splat<C>(0)
  for (let o: usize = 0; o < bytes; o += 16) {
    const x = v128.load(p + o)
    seen = v128.or(seen, v128.ne<C>(x, x))
  }
  return v128.any_true(seen)
}

// @ts-ignore: decorator
@inline
function formula<C>(context: usize, n: usize): void {
  const size = sizeof<C>(), bytes = n * size, whole = bytes & ~15, step = STRIP * size
  splat<C>(context)
  if (whole > 0) link<C>(context, false)
  for (let at: usize = 0; at < whole; at += step) {
    const length = min(step, whole - at)
    run<C>(context, at, length, <u64>(at / size))
    if (hasNaN<C>(output(context) + at, length)) mend<C>(context, at, at + length)
  }
  if (whole == bytes) return
  pad<C>(context, whole, bytes - whole)
  run<C>(context, whole, 16, <u64>(whole / size))
  memory.copy(output(context) + whole, padResult<C>(context), bytes - whole)
  mend<C>(context, whole, bytes)
}

export function formula_f32(context: usize, n: usize): void { formula<f32>(context, n) }
export function formula_f64(context: usize, n: usize): void { formula<f64>(context, n) }
