/**
 * Slerp: interpolates along the arc between two models, by the angle between their whole tensors.
 *
 *   d = a·c / (‖a‖ ‖c‖);  θ = acos d;  (sin((1−t)θ)·a + sin(tθ)·c) / sin θ,  on the unnormalised tensors
 *   (1−t)·a + t·c  where |d| > 0.9995: there sin θ has too few digits left
 *
 * a: the first model's tensor; c: the second's; t: 0 is the first model, 1 the second. For opposite models (d <
 * −0.9995), a note reports this. A norm ≤ 1e-8 counts as 1, so that a zero tensor gives d = 0 and not NaN. Products are
 * summed in float64. acos and sin are terge's own, with the same bits on every machine.
 * Source: Shoemake 1985; thresholds follow mergekit.
 */
import { ANY_BASIS } from '../shared/adapters.js'
import type { Method, PassInput, ReducePass } from '../types.js'

const SMALLEST_NORM = 1e-8
const PARALLEL = 0.9995

const divisor = (square: number): number => {
  const norm = Math.sqrt(square)
  return norm > SMALLEST_NORM ? norm : 1
}

const DOTS: ReducePass = { kernel: 'dots', slots: 3, combine: 'sums' }
/** For norms that overflow float64. */
const SMALL_DOTS: ReducePass = {
  kernel: 'dots_small',
  slots: 3,
  combine: 'sums',
  skip: ({ results }) => results[0]!.every(Number.isFinite),
}

function coefficients({ parameters, results, math, note }: PassInput): [number, number] {
  const [found, small] = results
  const [aa, cc, ac] = (small?.length ? small : found) ?? []
  if (aa === undefined || cc === undefined || ac === undefined) throw new Error('internal: slerp without its dots')
  const t = Number(parameters.t)
  const d = ac / (divisor(aa) * divisor(cc))
  if (d < -PARALLEL)
    note?.('slerp interpolated linearly: the models point in opposite directions, so the arc is undefined')
  if (Math.abs(d) > PARALLEL) return [1 - t, t]
  const theta = math.acos(d)
  const sine = math.sin(theta)
  return [math.sin((1 - t) * theta) / sine, math.sin(t * theta) / sine]
}

export const slerp: Method = {
  name: 'slerp',
  aliases: [],
  summary: 'spherical interpolation between two models',
  formula: '(sin((1−t)θ)·a + sin(tθ)·c)/sin θ, θ the angle between the tensors; (1−t)a + t·c where |cos θ| > 0.9995',
  base: 'none',
  weights: false,
  divides: () => false,
  models: { least: 2, most: 2, needed: 'all' },
  parameters: [{ name: 't', type: 'number', describe: 'Place on the arc: 0 is the first model, 1 the second.' }],
  adapters: ANY_BASIS,
  effective: () => [null, null],
  passes: ({ wide }) => ({
    reduces: wide ? [DOTS, SMALL_DOTS] : [DOTS],
    map: { kernel: 'linear', coefficients },
  }),
}
