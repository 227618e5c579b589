/**
 * tsv_m: task singular vectors; the strongest directions of each task, made orthogonal to those of the other tasks.
 *
 *   the k = max(1, int(rank_share·r)) first singular triplets of each w_i δ_i;  U, V: all left, all right vectors side by side
 *   b + λ · Û S V̂ᵀ,  Û = U(UᵀU)^(−1/2), V̂ alike: the nearest orthonormal vectors
 *
 * b: the base's tensor; δ_i = x_i − b, as the matrix [first axis, the rest]; r = min(rows, columns); w_i: weights; λ:
 * `lambda`; rank_share: by default 1 divided by the number of models. All in float64. 1-D tensors are averaged.
 * Deviations: singular values ≤ 1e-6 of the largest count as 0.
 * Source: arXiv 2412.00081.
 */
import { ANY_BASIS } from '../shared/adapters.js'
import { matrixPasses } from '../shared/held.js'
import { LAMBDA, ON_TASK_VECTORS } from '../shared/taskVectors.js'
import type { Method } from '../types.js'

export const tsvM: Method = {
  ...ON_TASK_VECTORS,
  name: 'tsv_m',
  summary: 'the strongest singular vectors of each task vector, made orthogonal to each other',
  formula: 'first singular triplets of each w_i δ_i, U and V made orthonormal together; b + λ · Û S V̂ᵀ',
  paper: '2412.00081',
  parameters: [
    LAMBDA,
    {
      name: 'rank_share',
      type: 'number',
      default: 'equal',
      choices: ['equal'],
      minimum: 0,
      maximum: 1,
      describe: 'Fraction of the singular vectors to keep per model; equal: 1 divided by the number of models.',
    },
  ],
  adapters: ANY_BASIS,
  effective: ({ weights }) => weights,
  passes: (settings) => {
    const { parameters, models } = settings
    const share = parameters.rank_share === 'equal' ? 1 / models.length : Number(parameters.rank_share)
    return matrixPasses(settings, 'tsv_m', { rank_share: share })
  },
}
