/**
 * Arcee fusion: a model's elements where its changes matter most, the base's elsewhere.
 *
 *   p = softmax(x, rows) + 1e-8;  q = softmax(b, rows) + 1e-8;  KL = Σ_row p ln(p/q);  importance = |δ|·KL of its row
 *   x where importance ≥ Q(½) + 1.5·(Q(¾) − Q(¼)), b elsewhere;  Q(f) = sorted[int(f·(N − 1))]
 *
 * x, b: the model's and the base's tensor; δ = x − b; N: elements; rows: vectors along the last axis. KL is computed in
 * float64, is at least 0, and is rounded to the compute dtype. Importance and threshold are float32.
 * Deviations: quantiles are exact for every size, while mergekit estimates those of large tensors.
 * Source: mergekit.
 */
import { magnitudeOf } from '../shared/keys.js'
import { elementsOf, type Position, select } from '../shared/selection.js'
import type { Method, Passes, PassInput, ReducePass, TensorSettings } from '../types.js'

function passes(settings: TensorSettings): Passes {
  const elements = elementsOf(settings)
  const divergence: ReducePass = { kernel: 'divergence', slots: 1, combine: 'rows' }
  const table = ({ results }: PassInput) => ({ per: 'row', slots: 1, values: results[0]! }) as const
  // Quantiles count from the smallest, positions from the largest.
  const positions = [0.5, 0.25, 0.75].map((share): Position => {
    return { model: 0, position: elements - 1 - Math.trunc(share * (elements - 1)) }
  })
  const options = { source: 'importance_', after: 1, indexes: false, table } as const
  const selection = elements > 0 ? select(settings, positions, options) : undefined

  function threshold(input: PassInput): readonly number[] {
    const quantiles = selection!.thresholds(input).map(({ key }) => magnitudeOf(key))
    const [half, quarter, threeQuarters] = quantiles as [number, number, number]
    return [Math.fround(half + 1.5 * (threeQuarters - quarter))]
  }

  return {
    reduces: [divergence, ...(selection?.passes ?? [])],
    map: { kernel: 'choose', coefficients: threshold, table },
  }
}

export const arceeFusion: Method = {
  name: 'arcee_fusion',
  aliases: [],
  summary: "the model's elements where its changes are most important, the base's elsewhere",
  formula: 'importance |x − b|·KL(softmax rows); x where it is ≥ Q(½) + 1.5·(Q(¾) − Q(¼)), b elsewhere',
  base: 'listed',
  weights: false,
  divides: () => false,
  models: { least: 2, most: 2, needed: 'all' },
  parameters: [],
  effective: ({ weights }) => weights.map(() => null),
  passes,
}
