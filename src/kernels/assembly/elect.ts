/**
 * From what is left of each model's difference to the output: D_i in rows of a buffer, added up or under an elected sign.
 *
 * sum:   out = b + Σ D_i.
 * elect: V = Σ D_i; NaN gives NaN; sign + where V ≥ 0, else −; T = Σ D_i of that sign, W = Σ w_i of the same (+0 and −0 have no
 *        sign); out = b + λ·(T, or T/W where normalize is set, a W of 0 being 1).
 * sce:   the same with T = Σ w_i D_i and out = b + λ·T/max(W, 1e-6).
 */
import { at } from './storage'

export const SUM = 0
export const ELECT = 1
export const SCE = 2

/** Coefficients: λ, normalize, two more; then for each model so many numbers, of which the second is its weight. */
export const HEADER: usize = 4 * 8
export const ENTRY: usize = 12 * 8

/** A coefficient, rounded to the compute type. */
// @ts-ignore: decorator
@inline
export function rounded<C>(p: usize): v128 { return v128.splat<C>(<C>load<f64>(p)) }

// @ts-ignore: decorator
@inline
export function entryOf(coefficients: usize, model: usize): usize { return coefficients + HEADER + model * ENTRY }

// @ts-ignore: decorator
@inline
function signBit<C>(): v128 { return sizeof<C>() == 8 ? i64x2.splat(0x8000000000000000) : i32x4.splat(0x80000000) }

/** `count` is a constant where this is inlined, or the loops are over so many models as there are. */
// @ts-ignore: decorator
@inline
function elected<S, C>(d: usize, stride: usize, weights: usize, count: usize, normalize: bool, sce: bool): v128 {
  const zero = v128.splat<C>(0)
  let votes = zero
  for (let i: usize = 0, p = d; i < count; i++, p += stride) votes = v128.add<C>(votes, v128.load(p))
  const flip = v128.and(v128.lt<C>(votes, zero), signBit<C>())
  let total = zero, divisor = zero
  for (let i: usize = 0, p = d, w = weights; i < count; i++, p += stride, w += ENTRY) {
    const part = v128.load(p)
    const agrees = v128.gt<C>(v128.xor(part, flip), zero)
    if (sce) total = v128.add<C>(total, v128.and(v128.mul<C>(rounded<C>(w), part), agrees))
    else total = v128.add<C>(total, v128.and(part, agrees))
    if (normalize || sce) divisor = v128.add<C>(divisor, v128.and(rounded<C>(w), agrees))
  }
  if (sce) total = v128.div<C>(total, v128.max<C>(divisor, v128.splat<C>(<C>1e-6)))
  else if (normalize) {
    const one = v128.splat<C>(1)
    total = v128.div<C>(total, v128.bitselect(one, divisor, v128.eq<C>(divisor, zero)))
  }
  return v128.bitselect(total, votes, v128.eq<C>(votes, votes))
}

/** m elements to `out`, in C and whole vectors; `b`: the base as stored, to be read by fours. `d`, `stride`: model after model. */
// @ts-ignore: decorator
@inline
export function combine<S, C>(
  b: usize, d: usize, stride: usize, count: usize, coefficients: usize, m: usize, out: usize, how: i32,
): void {
  const bytes = at<S>().bytes << (sizeof<C>() == 8 ? 1 : 2)
  const end = out + ((m * sizeof<C>() + 15) & ~15)
  const weights = entryOf(coefficients, 0) + 8
  const lambda = rounded<C>(coefficients), normalize = load<f64>(coefficients, 8) != 0
  while (out < end) {
    let sum: v128
    if (how == SUM) {
      sum = v128.splat<C>(0)
      for (let i: usize = 0, p = d; i < count; i++, p += stride) sum = v128.add<C>(sum, v128.load(p))
    } else {
      if (how == SCE) sum = elected<S, C>(d, stride, weights, count, false, true)
      else if (normalize) sum = elected<S, C>(d, stride, weights, count, true, false)
      else sum = elected<S, C>(d, stride, weights, count, false, false)
      sum = v128.mul<C>(lambda, sum)
    }
    v128.store(out, v128.add<C>(at<S>().load(b), sum))
    out += 16
    d += 16
    b += bytes
  }
}
