/**
 * From what is left of each model's difference to the output: D_i in rows of a buffer, added up or under an elected sign.
 *
 * sum:   out = b + Σ D_i.
 * elect: V = Σ D_i; NaN gives NaN; sign + where V ≥ 0, else −; T = Σ D_i of that sign, W = Σ w_i of the same (+0 and −0 have no
 *        sign); out = b + λ·(T, or T/W where normalize is set, a W of 0 being 1).
 * sce:   the same with T = Σ w_i D_i and out = b + λ·T/max(W, 1e-6).
 */
import { at, signBit } from '../memory/storage'

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

/** A model's share in total and divisor: what agrees with the elected sign. */
// @ts-ignore: decorator
@inline
function share<C>(part: v128, agrees: v128, weight: v128, weighted: bool): v128 {
  return v128.and(weighted ? v128.mul<C>(weight, part) : part, agrees)
}

/** What is added to the base, but for λ, from total and divisor. */
// @ts-ignore: decorator
@inline
function quotient<C>(total: v128, divisor: v128, votes: v128, normalize: bool, sce: bool): v128 {
  if (sce) total = v128.div<C>(total, v128.max<C>(divisor, v128.splat<C>(<C>1e-6)))
  else if (normalize) {
    const one = v128.splat<C>(1)
    total = v128.div<C>(total, v128.bitselect(one, divisor, v128.eq<C>(divisor, v128.splat<C>(0))))
  }
  return v128.bitselect(total, votes, v128.eq<C>(votes, votes))
}

/** Of two or three models: `three` is a constant where this is inlined, and nothing goes through memory. */
// @ts-ignore: decorator
@inline
function electFew<S, C>(
  b: usize, d: usize, stride: usize, list: usize, m: usize, out: usize, three: bool, normalize: bool, sce: bool,
): void {
  const bytes = at<S>().bytes << (sizeof<C>() == 8 ? 1 : 2)
  const end = out + ((m * sizeof<C>() + 15) & ~15)
  const weights = entryOf(list, 0) + 8, zero = v128.splat<C>(0), lambda = rounded<C>(list)
  const w0 = rounded<C>(weights), w1 = rounded<C>(weights + ENTRY), w2 = three ? rounded<C>(weights + 2 * ENTRY) : w0
  while (out < end) {
    const x0 = v128.load(d), x1 = v128.load(d + stride), x2 = three ? v128.load(d + 2 * stride) : zero
    let votes = v128.add<C>(v128.add<C>(zero, x0), x1)
    if (three) votes = v128.add<C>(votes, x2)
    const flip = v128.and(v128.lt<C>(votes, zero), signBit<C>())
    const a0 = v128.gt<C>(v128.xor(x0, flip), zero), a1 = v128.gt<C>(v128.xor(x1, flip), zero)
    let total = v128.add<C>(share<C>(x0, a0, w0, sce), share<C>(x1, a1, w1, sce))
    let divisor = normalize || sce ? v128.add<C>(v128.and(w0, a0), v128.and(w1, a1)) : zero
    if (three) {
      const a2 = v128.gt<C>(v128.xor(x2, flip), zero)
      total = v128.add<C>(total, share<C>(x2, a2, w2, sce))
      if (normalize || sce) divisor = v128.add<C>(divisor, v128.and(w2, a2))
    }
    const merged = v128.mul<C>(lambda, quotient<C>(total, divisor, votes, normalize, sce))
    v128.store(out, v128.add<C>(at<S>().load(b), merged))
    out += 16
    d += 16
    b += bytes
  }
}

/** Of any number of models. */
// @ts-ignore: decorator
@inline
function electMany<S, C>(
  b: usize, d: usize, stride: usize, count: usize, list: usize, m: usize, out: usize, normalize: bool, sce: bool,
): void {
  const bytes = at<S>().bytes << (sizeof<C>() == 8 ? 1 : 2)
  const end = out + ((m * sizeof<C>() + 15) & ~15)
  const weights = entryOf(list, 0) + 8, zero = v128.splat<C>(0), lambda = rounded<C>(list)
  while (out < end) {
    let votes = zero, total = zero, divisor = zero
    for (let i: usize = 0, p = d; i < count; i++, p += stride) votes = v128.add<C>(votes, v128.load(p))
    const flip = v128.and(v128.lt<C>(votes, zero), signBit<C>())
    for (let i: usize = 0, p = d, w = weights; i < count; i++, p += stride, w += ENTRY) {
      const part = v128.load(p), weight = rounded<C>(w), agrees = v128.gt<C>(v128.xor(part, flip), zero)
      total = v128.add<C>(total, share<C>(part, agrees, weight, sce))
      if (normalize || sce) divisor = v128.add<C>(divisor, v128.and(weight, agrees))
    }
    const merged = v128.mul<C>(lambda, quotient<C>(total, divisor, votes, normalize, sce))
    v128.store(out, v128.add<C>(at<S>().load(b), merged))
    out += 16
    d += 16
    b += bytes
  }
}

// @ts-ignore: decorator
@inline
function elect<S, C>(
  b: usize, d: usize, stride: usize, count: usize, list: usize, m: usize, out: usize, normalize: bool, sce: bool,
): void {
  if (count == 2) electFew<S, C>(b, d, stride, list, m, out, false, normalize, sce)
  else if (count == 3) electFew<S, C>(b, d, stride, list, m, out, true, normalize, sce)
  else electMany<S, C>(b, d, stride, count, list, m, out, normalize, sce)
}

// @ts-ignore: decorator
@inline
function sum<S, C>(b: usize, d: usize, stride: usize, count: usize, m: usize, out: usize): void {
  const bytes = at<S>().bytes << (sizeof<C>() == 8 ? 1 : 2)
  const end = out + ((m * sizeof<C>() + 15) & ~15)
  for (; out < end; out += 16, d += 16, b += bytes) {
    let total = v128.add<C>(v128.splat<C>(0), v128.load(d))
    if (count > 1) total = v128.add<C>(total, v128.load(d + stride))
    if (count > 2) total = v128.add<C>(total, v128.load(d + 2 * stride))
    for (let i: usize = 3, p = d + 3 * stride; i < count; i++, p += stride) total = v128.add<C>(total, v128.load(p))
    v128.store(out, v128.add<C>(at<S>().load(b), total))
  }
}

/** m elements to `out`, in C and whole vectors; `b`: the base as stored, to be read by fours. `d`, `stride`: model after model. */
export function combine<S, C>(
  b: usize, d: usize, stride: usize, count: usize, list: usize, m: usize, out: usize, how: i32,
): void {
  if (how == SUM) sum<S, C>(b, d, stride, count, m, out)
  else if (how == SCE) elect<S, C>(b, d, stride, count, list, m, out, false, true)
  else if (load<f64>(list, 8) != 0) elect<S, C>(b, d, stride, count, list, m, out, true, false)
  else elect<S, C>(b, d, stride, count, list, m, out, false, false)
}
