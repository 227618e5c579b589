/**
 * Elements that are not finite, and the same in all that a kernel compares. inf - inf is NaN, and one NaN spoils every sum that it
 * gets into. Such an element is no difference: its difference counts as 0, and where there is no base it is left out of norms and
 * dot products. Of finite elements nothing changes: x - x is +0 already.
 */
import { base, input, inputCount } from './context'

/** x - b; +0 in every lane where the bits are equal. */
// @ts-ignore: decorator
@inline
export function minus<C>(x: v128, b: v128): v128 {
  return v128.andnot(v128.sub<C>(x, b), sameBits<C>(x, b))
}

// @ts-ignore: decorator
@inline
export function sameBits<C>(x: v128, y: v128): v128 {
  return sizeof<C>() == 8 ? i64x2.eq(x, y) : i32x4.eq(x, y)
}

/** The same of one element. */
// @ts-ignore: decorator
@inline
export function minus1<C>(x: C, b: C): C { return same1<C>(x, b) ? <C>0 : x - b }

// @ts-ignore: decorator
@inline
export function same1<C>(x: C, y: C): bool {
  if (sizeof<C>() == 8) return reinterpret<u64>(<f64>x) == reinterpret<u64>(<f64>y)
  return reinterpret<u32>(<f32>x) == reinterpret<u32>(<f32>y)
}

// @ts-ignore: decorator
@inline
export function isFinite1<C>(x: C): bool { return x - x == 0 }

/** Whether the element at byte `o` is not finite, and has the same bits in every input, and in the base where there is one. */
export function isShared<C>(context: usize, o: usize): bool {
  const x = load<C>(input(context, 0) + o), b = base(context)
  if (isFinite1<C>(x) || (b != 0 && !same1<C>(x, load<C>(b + o)))) return false
  for (let i: u32 = 1, count = inputCount(context); i < count; i++)
    if (!same1<C>(x, load<C>(input(context, i) + o))) return false
  return true
}

/** The limit of Σ c_i x for an infinite x: by the sign of Σ c_i. NaN where that is 0, but for rounding. */
// @ts-ignore: decorator
@inline
export function limitOf<C>(x: C, sum: f64, magnitude: f64): C {
  if (abs<f64>(sum) <= 1e-12 * magnitude) return <C>NaN
  return sum > 0 ? x : -x
}
