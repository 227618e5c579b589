/**
 * cart: centred low-rank task vectors; the average of the models, and the strongest directions in which each differs from it.
 *
 *   a + λ Σ [x_i − a]_k,  a = mean x_i,  k = max(1, int(rank_ratio·r)) first singular triplets, none where rank_ratio = 0
 *
 * x_i: the models' tensors as the matrix [first axis, the rest]; r = min(rows, columns); λ: `lambda`. All in float64.
 * Singular values ≤ 1e-6 of the largest count as 0. rank_ratio 0 or 1, and two models, give the average, since the differences
 * sum to 0.
 * Tensors with fewer than two axes are averaged. The authors use 0.12 and 2.0 for 8 tasks, 0.16 and 1.5 for 14, 0.32 and
 * 1.9 for 20. Deviation: they cut only the weights of attention and MLP; a recipe's rules do that here.
 * Source: arXiv 2412.12153.
 */
import { matrixPasses, sidesOf } from '../shared/held.js'
import { LAMBDA } from '../shared/taskVectors.js'
import type { Method } from '../types.js'

export const cart: Method = {
  name: 'cart',
  aliases: [],
  summary: 'the average, plus the strongest singular vectors of each model’s difference from it',
  formula: 'a + λ · Σ (first singular triplets of x_i − a), a = mean x_i',
  paper: '2412.12153',
  base: 'none',
  weights: false,
  divides: () => false,
  models: { least: 2, needed: 2 },
  parameters: [
    { ...LAMBDA, default: 2, describe: 'Scale of the differences from the average.' },
    {
      name: 'rank_ratio',
      type: 'number',
      default: 0.12,
      minimum: 0,
      maximum: 1,
      describe:
        'Fraction of the singular vectors of each difference to keep, at least one; 0 keeps none. Of two models the differences cancel.',
    },
  ],
  adapters: { kind: 'refused', why: 'its rank is a share of the sides of the whole weight' },
  effective: ({ weights }) => weights.map(() => null),
  passes(settings) {
    const { shape, parameters, models } = settings
    const ratio = Number(parameters.rank_ratio)
    if (shape.length < 2 || ratio === 0 || models.length === 2)
      return { reduces: [], map: { kernel: 'linear', coefficients: () => models.map(() => 1 / models.length) } }
    const rank = Math.max(1, Math.trunc(ratio * sidesOf(shape).short))
    const passes = matrixPasses(settings, 'cart', { rank })
    return { ...passes, map: { kernel: 'linear', coefficients: () => [1] } }
  },
}
