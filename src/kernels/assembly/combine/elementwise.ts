/**
 * Rules that look at one element of each input. Each is a function of vectors: whole vectors, then single elements in
 * lane 0. NaN becomes canonical where it is stored, since a result may go to the output as it is.
 */
import { base, coefficients, input, inputCount, output } from '../memory/context'
import { minus, sameBits } from '../memory/equal'
import { middleOf, SORTED, sortIn } from '../memory/sorted'
import { BF16, F16, F32, F64, at } from '../memory/storage'

/** A vector, or one element in lane 0. */
// @ts-ignore: decorator
@inline
function get<C>(p: usize, whole: bool): v128 {
  return whole ? v128.load(p) : sizeof<C>() == 8 ? v128.load64_zero(p) : v128.load32_zero(p)
}

// @ts-ignore: decorator
@inline
function put<C>(p: usize, x: v128, whole: bool): void {
  if (whole) v128.store(p, x)
  else if (sizeof<C>() == 8) v128.store64_lane(p, x, 0)
  else v128.store32_lane(p, x, 0)
}

/** Coefficient `index`, rounded to the compute type. */
// @ts-ignore: decorator
@inline
function constant<C>(context: usize, index: u32): v128 { return v128.splat<C>(<C>load<f64>(coefficients(context) + (index << 3))) }

/** Of an even number half the sum of the middle two; NaN in any is NaN. Sorted by exchanging neighbours. */
// @ts-ignore: decorator
@inline
function median<C>(context: usize, o: usize, whole: bool): v128 {
  const count = inputCount(context)
  let nan = v128.splat<C>(0)
  nan = v128.ne<C>(nan, nan)
  for (let i: u32 = 0; i < count; i++) {
    const x = get<C>(input(context, i) + o, whole)
    nan = v128.or(nan, v128.ne<C>(x, x))
    sortIn<C>(SORTED, i, x)
  }
  const result = middleOf<C>(SORTED, count)
  return v128.bitselect(v128.splat<C>(<C>NaN), result, nan)
}

/** The difference of largest magnitude, of equal ones the first; NaN before all. Coefficient: its factor. */
// @ts-ignore: decorator
@inline
function magmax<C>(context: usize, o: usize, whole: bool): v128 {
  const origin = get<C>(base(context) + o, whole), count = inputCount(context)
  let largest = minus<C>(get<C>(input(context, 0) + o, whole), origin)
  for (let i: u32 = 1; i < count; i++) {
    const delta = minus<C>(get<C>(input(context, i) + o, whole), origin)
    const larger = v128.or(v128.gt<C>(v128.abs<C>(delta), v128.abs<C>(largest)), v128.ne<C>(delta, delta))
    largest = v128.bitselect(delta, largest, larger)
  }
  return v128.add<C>(origin, v128.mul<C>(constant<C>(context, 0), largest))
}

/** Coefficients: weights, then the threshold, how many must select, and λ. */
// @ts-ignore: decorator
@inline
function consensus<C>(context: usize, o: usize, whole: bool): v128 {
  const origin = get<C>(base(context) + o, whole), count = inputCount(context), one = v128.splat<C>(1)
  let mean = v128.splat<C>(0), selecting = mean
  for (let i: u32 = 0; i < count; i++) {
    if (<C>load<f64>(coefficients(context) + (i << 3)) == 0) continue
    const delta = minus<C>(get<C>(input(context, i) + o, whole), origin)
    mean = v128.add<C>(mean, v128.mul<C>(constant<C>(context, i), delta))
  }
  const threshold = constant<C>(context, count)
  for (let i: u32 = 0; i < count; i++) {
    const delta = minus<C>(get<C>(input(context, i) + o, whole), origin)
    const limit = v128.mul<C>(threshold, v128.abs<C>(v128.sub<C>(mean, delta)))
    selecting = v128.add<C>(selecting, v128.and(one, v128.gt<C>(v128.abs<C>(delta), limit)))
  }
  const kept = v128.add<C>(origin, v128.mul<C>(constant<C>(context, count + 2), mean))
  return v128.bitselect(kept, origin, v128.ge<C>(selecting, constant<C>(context, count + 1)))
}

/** Coefficients: factors of inputs that alone changed an element, then ε and the factor of all. */
// @ts-ignore: decorator
@inline
function changed<C>(context: usize, o: usize, whole: bool): v128 {
  const origin = get<C>(base(context) + o, whole), count = inputCount(context), one = v128.splat<C>(1)
  const epsilon = constant<C>(context, count), none = v128.splat<C>(0)
  let sum = none, who = none, factor = none
  for (let i: u32 = 0; i < count; i++) {
    const delta = minus<C>(get<C>(input(context, i) + o, whole), origin)
    const mask = v128.gt<C>(v128.abs<C>(delta), epsilon)
    sum = v128.add<C>(sum, v128.and(delta, mask))
    who = v128.add<C>(who, v128.and(one, mask))
    factor = v128.bitselect(constant<C>(context, i), factor, mask)
  }
  const merged = v128.bitselect(v128.mul<C>(factor, sum), v128.div<C>(sum, who), v128.eq<C>(who, one))
  const result = v128.add<C>(origin, v128.mul<C>(constant<C>(context, count + 1), merged))
  return v128.bitselect(origin, result, v128.eq<C>(who, none))
}

/** Inputs: models, then as many statistics. Coefficients: weights, then the floor. */
// @ts-ignore: decorator
@inline
function fisher<C>(context: usize, o: usize, whole: bool): v128 {
  const count = inputCount(context) >> 1, none = v128.splat<C>(0), floor = constant<C>(context, count)
  let sum = none, divisor = none, plain = none, weights = none
  for (let i: u32 = 0; i < count; i++) {
    const information = v128.max<C>(get<C>(input(context, count + i) + o, whole), floor)
    const share = v128.mul<C>(constant<C>(context, i), information), taken = v128.ne<C>(share, none)
    const x = get<C>(input(context, i) + o, whole), weight = constant<C>(context, i)
    sum = v128.add<C>(sum, v128.and(v128.mul<C>(share, x), taken))
    divisor = v128.add<C>(divisor, share)
    plain = v128.add<C>(plain, v128.and(v128.mul<C>(weight, x), v128.ne<C>(weight, none)))
    weights = v128.add<C>(weights, weight)
  }
  // What mattered to nobody is the weighted mean, whatever the floor.
  const idle = v128.eq<C>(divisor, none)
  return v128.div<C>(v128.bitselect(plain, sum, idle), v128.bitselect(weights, divisor, idle))
}

type Rule = i32
const MEDIAN: Rule = 0, MAGMAX: Rule = 1, CONSENSUS: Rule = 2, CHANGED: Rule = 3, FISHER: Rule = 4

// @ts-ignore: decorator
@inline
function value<C>(rule: Rule, context: usize, o: usize, whole: bool): v128 {
  if (rule == MEDIAN) return median<C>(context, o, whole)
  if (rule == MAGMAX) return magmax<C>(context, o, whole)
  if (rule == CONSENSUS) return consensus<C>(context, o, whole)
  if (rule == CHANGED) return changed<C>(context, o, whole)
  return fisher<C>(context, o, whole)
}

/** The positive quiet NaN for every NaN: the bits of a computed one depend on the machine. */
// @ts-ignore: decorator
@inline
function canonical<C>(x: v128): v128 { return v128.bitselect(v128.splat<C>(<C>NaN), x, v128.ne<C>(x, x)) }

/** `rule` is a constant where this is inlined. */
// @ts-ignore: decorator
@inline
function each<C>(rule: Rule, context: usize, n: usize): void {
  const out = output(context), bytes = n * sizeof<C>(), whole = bytes & ~15
  let o: usize = 0
  for (; o < whole; o += 16) put<C>(out + o, canonical<C>(value<C>(rule, context, o, true)), true)
  for (; o < bytes; o += sizeof<C>()) put<C>(out + o, canonical<C>(value<C>(rule, context, o, false)), false)
}

export function median_f32(context: usize, n: usize): void { each<f32>(MEDIAN, context, n) }
export function median_f64(context: usize, n: usize): void { each<f64>(MEDIAN, context, n) }
export function magmax_f32(context: usize, n: usize): void { each<f32>(MAGMAX, context, n) }
export function magmax_f64(context: usize, n: usize): void { each<f64>(MAGMAX, context, n) }
export function consensus_f32(context: usize, n: usize): void { each<f32>(CONSENSUS, context, n) }
export function consensus_f64(context: usize, n: usize): void { each<f64>(CONSENSUS, context, n) }
export function changed_f32(context: usize, n: usize): void { each<f32>(CHANGED, context, n) }
export function changed_f64(context: usize, n: usize): void { each<f64>(CHANGED, context, n) }
export function fisher_f32(context: usize, n: usize): void { each<f32>(FISHER, context, n) }
export function fisher_f64(context: usize, n: usize): void { each<f64>(FISHER, context, n) }

/** Counts of elements that an input changed alone, for each input, then of those it changed with others. Coefficient: ε. */
// @ts-ignore: decorator
@inline
function changes<C>(context: usize, n: usize): void {
  const count = inputCount(context), b = base(context), out = load<u32>(context, 20), size = sizeof<C>()
  const epsilon = <C>load<f64>(coefficients(context))
  for (let o: usize = 0; o < n * size; o += size) {
    const origin = load<C>(b + o)
    let who: u32 = 0
    for (let i: u32 = 0; i < count; i++) who += u32(abs<C>(load<C>(input(context, i) + o) - origin) > epsilon)
    if (who == 0) continue
    const counts = out + (who == 1 ? 0 : count << 2)
    for (let i: u32 = 0; i < count; i++) {
      const p = counts + (i << 2)
      store<u32>(p, load<u32>(p) + u32(abs<C>(load<C>(input(context, i) + o) - origin) > epsilon))
    }
  }
}

export function changes_f32(context: usize, n: usize): void { changes<f32>(context, n) }
export function changes_f64(context: usize, n: usize): void { changes<f64>(context, n) }

/** Counts of elements of the first input that are negative, that are not finite, and that are not 0. */
// @ts-ignore: decorator
@inline
function negatives<C>(context: usize, n: usize): void {
  const out = load<u32>(context, 20)
  let below: u32 = 0, other: u32 = 0, some: u32 = 0
  for (let p = input(context, 0), end = p + n * sizeof<C>(); p < end; p += sizeof<C>()) {
    const x = load<C>(p)
    below += u32(x < 0)
    other += u32(x - x != 0)
    some += u32(x != 0)
  }
  store<u32>(out, load<u32>(out) + below)
  store<u32>(out, load<u32>(out, 4) + other, 4)
  store<u32>(out, load<u32>(out, 8) + some, 8)
}

export function negatives_f32(context: usize, n: usize): void { negatives<f32>(context, n) }
export function negatives_f64(context: usize, n: usize): void { negatives<f64>(context, n) }

/** s = clamp(t / max(abs(b − x), 1e-6), 0, 1); s·x + (1 − s)·b. Coefficient: t. */
// @ts-ignore: decorator
@inline
function near<C>(x: v128, b: v128, t: v128, least: v128, one: v128): v128 {
  const distance = v128.max<C>(v128.abs<C>(minus<C>(b, x)), least)
  const s = v128.min<C>(v128.max<C>(v128.div<C>(t, distance), v128.splat<C>(0)), one)
  const result = v128.add<C>(v128.mul<C>(s, x), v128.mul<C>(v128.sub<C>(one, s), b))
  // 0 · inf is NaN: what both share comes out as it is.
  return v128.bitselect(x, result, v128.and(v128.ne<C>(result, result), sameBits<C>(x, b)))
}

// @ts-ignore: decorator
@inline
function nearswap<S, C>(context: usize, n: usize): void {
  const s = at<S>(), t = constant<C>(context, 0), least = v128.splat<C>(<C>1e-6), one = v128.splat<C>(1)
  const half = <usize>(16 / <i32>sizeof<C>()) * s.bytes
  let x = input(context, 0), b = base(context), out = output(context)
  const end = x + n * s.bytes
  for (; x + 2 * half <= end; x += 2 * half) {
    const lo = near<C>(s.load(x), s.load(b), t, least, one)
    s.store2(out, lo, near<C>(s.load(x + half), s.load(b + half), t, least, one))
    b += 2 * half
    out += 2 * half
  }
  for (; x < end; x += s.bytes) {
    s.store1(out, near<C>(s.load1(x), s.load1(b), t, least, one))
    b += s.bytes
    out += s.bytes
  }
}

export function nearswap_f32(context: usize, n: usize): void { nearswap<F32, f32>(context, n) }
export function nearswap_f64(context: usize, n: usize): void { nearswap<F64, f64>(context, n) }
export function nearswap_F16(context: usize, n: usize): void { nearswap<F16, f32>(context, n) }
export function nearswap_BF16(context: usize, n: usize): void { nearswap<BF16, f32>(context, n) }
