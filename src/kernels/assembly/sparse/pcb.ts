/**
 * pcb, element by element. Of input i, δ_i its difference from the base, in float64 up to the score, which is a float32:
 *   a = clamp(|δ_i|, low_i, high_i);  u = (a − low_i)/(high_i − low_i), 0 where these are equal
 *   score = exp(n·u²) · tanh(δ_i · Σ δ_k)
 *
 * pcb_coarse: coefficients: the first model and how many, then low and high of every input. 2^16 counts of key >> 16 each.
 * pcb_fine: how many entries, then model, bucket and table for each, then low and high of every input.
 * Keys of scores rise with them: bits ^ (negative ? all ones : the sign).
 * pcb: low, high, least and largest score of every input, then λ.
 */
import { base, coefficients, input, inputCount, output, sums } from '../memory/context'
import { minus1 } from '../memory/equal'
import { count } from '../memory/lanes'

// @ts-ignore: decorator
@inline
function delta<C>(context: usize, i: u32, o: usize): C {
  return minus1<C>(load<C>(input(context, i) + o), load<C>(base(context) + o))
}

// @ts-ignore: decorator
@inline
function sumOf<C>(context: usize, o: usize): f64 {
  let all: f64 = 0
  for (let i: u32 = 0, n = inputCount(context); i < n; i++) all += <f64>delta<C>(context, i, o)
  return all
}

// @ts-ignore: decorator
@inline
function clip(x: f64, low: f64, high: f64): f64 { return min<f64>(max<f64>(abs<f64>(x), low), high) }

function score(x: f64, all: f64, low: f64, high: f64, n: f64): f32 {
  const u = high > low ? (clip(x, low, high) - low) / (high - low) : 0
  return <f32>(NativeMath.exp(n * u * u) * NativeMath.tanh(x * all))
}

// @ts-ignore: decorator
@inline
function keyOf(score: f32): u32 {
  const bits: u32 = score == score ? reinterpret<u32>(score) : 0x7fc00000
  return bits ^ (bits >> 31 ? 0xffffffff : 0x80000000)
}

// @ts-ignore: decorator
@inline
function coarse<C>(context: usize, n: usize): void {
  const list = coefficients(context), start = <u32>load<f64>(list), models = <u32>load<f64>(list, 8)
  const out = sums(context), participants = <f64>inputCount(context)
  for (let o: usize = 0, end = n * sizeof<C>(); o < end; o += sizeof<C>()) {
    const all = sumOf<C>(context, o)
    for (let m: u32 = 0; m < models; m++) {
      const clips = list + 16 + ((start + m) << 4), x = <f64>delta<C>(context, start + m, o)
      const key = keyOf(score(x, all, load<f64>(clips), load<f64>(clips, 8), participants))
      count(out + (m << 18) + ((key >> 16) << 2))
    }
  }
}

// @ts-ignore: decorator
@inline
function fine<C>(context: usize, n: usize): void {
  const list = coefficients(context), entries = <u32>load<f64>(list)
  const out = sums(context), participants = <f64>inputCount(context), lows = list + 8 + entries * 24
  for (let o: usize = 0, end = n * sizeof<C>(); o < end; o += sizeof<C>()) {
    const all = sumOf<C>(context, o)
    let done: u32 = -1, key: u32 = 0
    for (let e: u32 = 0; e < entries; e++) {
      const entry = list + 8 + e * 24, model = <u32>load<f64>(entry)
      if (model != done) {
        const clips = lows + (model << 4)
        key = keyOf(score(<f64>delta<C>(context, model, o), all, load<f64>(clips), load<f64>(clips, 8), participants))
        done = model
      }
      if (key >> 16 == <u32>load<f64>(entry, 8)) count(out + (<u32>load<f64>(entry, 16) << 18) + ((key & 0xffff) << 2))
    }
  }
}

// @ts-ignore: decorator
@inline
function merge<C>(context: usize, n: usize): void {
  const list = coefficients(context), models = inputCount(context), participants = <f64>models
  const lambda = <C>load<f64>(list + (models << 5)), floor = <C>1e-12
  for (let o: usize = 0, end = n * sizeof<C>(); o < end; o += sizeof<C>()) {
    const all = sumOf<C>(context, o)
    let total: C = 0, divisor: C = 0
    for (let i: u32 = 0; i < models; i++) {
      const own = list + (i << 5), x = <f64>delta<C>(context, i, o)
      const low = load<f64>(own), high = load<f64>(own, 8), least = load<f64>(own, 16)
      const span = <C>(load<f64>(own, 24) - least), found = <f64>score(x, all, low, high, participants)
      const share: C = span > 0 && found > least ? <C>(found - least) / span : 0
      const clipped = clip(x, low, high)
      total += share * <C>(x > 0 ? clipped : x < 0 ? -clipped : x)
      divisor += share
    }
    const origin = load<C>(base(context) + o)
    store<C>(output(context) + o, origin + lambda * (total / max<C>(divisor, floor)))
  }
}

export function pcb_coarse_f32(context: usize, n: usize): void { coarse<f32>(context, n) }
export function pcb_coarse_f64(context: usize, n: usize): void { coarse<f64>(context, n) }
export function pcb_fine_f32(context: usize, n: usize): void { fine<f32>(context, n) }
export function pcb_fine_f64(context: usize, n: usize): void { fine<f64>(context, n) }
export function pcb_f32(context: usize, n: usize): void { merge<f32>(context, n) }
export function pcb_f64(context: usize, n: usize): void { merge<f64>(context, n) }
