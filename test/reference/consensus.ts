/** Methods that count or weigh who changed an element: consensus_ta, ram, ramplus_tl, pcb. */
import {
  baseOf,
  deltasOf,
  type Given,
  lambdaOf,
  linesFactor,
  mathOf,
  option,
  rounding,
  type Tensor,
  weightsOf,
  zeros,
} from './numeric.js'

/**
 * consensus_ta (TALL masks and consensus, 2405.07813): μ = Σ w_i δ_i; mask_i = abs(δ_i) > tall_lambda·abs(μ − δ_i); elements that
 * at least k masks select keep μ: b + λ·kept μ. All in the compute type. Deviation: the paper's ≥ is > here, so that
 * elements nobody changed (0 ≥ 0) are selected by nobody; they are 0 either way.
 */
export function consensusTa(given: Given): Tensor {
  const round = rounding(given.compute)
  const [base, deltas, weights] = [baseOf(given), deltasOf(given), weightsOf(given).map(round)]
  const [threshold, lambda] = [round(option(given, 'tall_lambda', 0.4)), round(lambdaOf(given))]
  const least = option(given, 'k', 2)
  return base.map((origin, i) => {
    let mean = 0
    deltas.forEach((delta, model) => {
      if (weights[model] !== 0) mean = round(mean + round(weights[model]! * delta[i]!))
    })
    const selecting = deltas.filter(
      (delta) => Math.abs(delta[i]!) > round(threshold * Math.abs(round(mean - delta[i]!))),
    )
    return selecting.length >= least ? round(origin + round(lambda * mean)) : origin
  }) as Tensor
}

/** ram (2601.13572): changed where abs(δ_i) > ε (as compute type); c models changed it: b + Σ over those of δ_i / c, the sum first. */
export const ram = (given: Given): Tensor => mergeChanged(given, () => 1)

/**
 * ramplus_tl: as ram, but where one model alone changed the element, its δ_i times 1 + r·clamp(ρ_i, 0, alpha),
 * ρ_i = (elements it changed with others)/max(elements it changed alone, ε), counted over the tensor.
 */
export function ramplusTl(given: Given): Tensor {
  const deltas = deltasOf(given)
  const epsilon = option(given, 'epsilon', 1e-5)
  const changed = changedBy(given)
  const [alone, shared] = [deltas.map(() => 0), deltas.map(() => 0)]
  for (let i = 0; i < deltas[0]!.length; i++) {
    const who = changed(i)
    for (const model of who) (who.length === 1 ? alone : shared)[model]!++
  }
  const [r, alpha] = [option(given, 'r', 0.1), option(given, 'alpha', 0.2)]
  const factors = shared.map((count, i) => 1 + r * Math.min(Math.max(count / Math.max(alone[i]!, epsilon), 0), alpha))
  return mergeChanged(given, (model) => factors[model]!)
}

function changedBy(given: Given): (index: number) => readonly number[] {
  const deltas = deltasOf(given)
  const epsilon = rounding(given.compute)(option(given, 'epsilon', 1e-5))
  return (i) => deltas.flatMap((delta, model) => (Math.abs(delta[i]!) > epsilon ? [model] : []))
}

function mergeChanged(given: Given, factorAlone: (model: number) => number): Tensor {
  const round = rounding(given.compute)
  const [base, deltas, changed] = [baseOf(given), deltasOf(given), changedBy(given)]
  const scale = round(linesFactor(given))
  return base.map((origin, i) => {
    const who = changed(i)
    if (who.length === 0) return origin
    const total = who.reduce((sofar, model) => round(sofar + deltas[model]![i]!), 0)
    const merged = who.length === 1 ? round(round(factorAlone(who[0]!)) * total) : round(total / who.length)
    return round(origin + round(scale * merged))
  }) as Tensor
}

/** Part of each end of abs(δ_i) that is clipped before normalising. */
const CLIPPED = 1e-4

/**
 * pcb (parameter competition balancing, 2410.02396). Over all D elements of the scope (`model`: this function is given the
 * concatenation of the merged tensors in the plan's order; `tensor`: one tensor), for n models:
 *
 *   a_i     abs(δ_i), clipped to [sorted[int(D·1e-4)], sorted[max(0, int(D·(1 − 1e-4)) − 1)]]; c_i = sign(δ_i)·a_i
 *   intra   exp(n·u²), u = a_i scaled to [0, 1] between its least and largest value (0 where they are equal)
 *   inter   tanh(δ_i · Σ_k δ_k)
 *   score   intra · inter, rounded to float32
 *   s_i     score, everything under q_i = sorted[int(D·(1 − ratio))] raised to q_i, then scaled to [0, 1] (0 where
 *           q_i is the largest score): the top `ratio` compete, the rest weigh 0
 *   result  b + λ Σ s_i c_i / max(Σ s_i, 1e-12)
 *
 * Interpretation: the paper's text says softmax for both scores and a hard mask; this is what its authors' program computes. Scores
 * are float64 with one rounding; s_i and what follows are in the compute type. Source: arXiv 2410.02396 and its program.
 */
export function pcb(given: Given): Tensor {
  const round = rounding(given.compute)
  const [base, deltas] = [baseOf(given), deltasOf(given)]
  const [count, n] = [base.length, deltas.length]
  const { exp, tanh } = mathOf(given)
  const at = (sorted: ArrayLike<number>, index: number) => sorted[Math.min(count - 1, Math.max(0, Math.trunc(index)))]!
  const clipped = deltas.map((delta) => {
    const sorted = Float32Array.from(delta, Math.abs).sort()
    return [at(sorted, count * CLIPPED), at(sorted, Math.trunc(count * (1 - CLIPPED)) - 1)] as const
  })
  const clip = (model: number, x: number) => Math.min(Math.max(Math.abs(x), clipped[model]![0]), clipped[model]![1])
  const scales = deltas.map((delta, model) => {
    const [low, high] = clipped[model]!
    const scores = Float32Array.from(delta, (x, i) => {
      const u = high > low ? (clip(model, x) - low) / (high - low) : 0
      const all = deltas.reduce((total, other) => total + other[i]!, 0)
      return exp(n * u * u) * tanh(x * all)
    })
    const sorted = scores.slice().sort()
    const [least, largest] = [at(sorted, count * (1 - option(given, 'ratio', 0.2))), at(sorted, count - 1)]
    const divisor = round(largest - least)
    return zeros(given.compute, count).map((_, i) =>
      divisor > 0 && scores[i]! > least ? round(round(scores[i]! - least) / divisor) : 0,
    )
  })
  const lambda = round(lambdaOf(given))
  return base.map((origin, i) => {
    let [total, divisor] = [0, 0]
    deltas.forEach((delta, model) => {
      const s = scales[model]![i]!
      total = round(total + round(s * round(Math.sign(delta[i]!) * clip(model, delta[i]!))))
      divisor = round(divisor + s)
    })
    return round(origin + round(lambda * round(total / Math.max(divisor, round(1e-12)))))
  }) as Tensor
}
