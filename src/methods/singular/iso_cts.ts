/**
 * iso_cts: isotropic merging in a common subspace and one subspace per task.
 *
 *   D_i = w_i δ_i;  s = min(⌊r/n⌋, round((r − int(common·r))/n));  c = r − n·s
 *   the c first singular triplets of Σ D_i, the s first of each D_i − U_c U_cᵀ D_i;  b + λ · mean(S) Û V̂ᵀ
 *
 * b: the base's tensor; δ_i = x_i − b, as the matrix [first axis, the rest]; n: the number of models; r = min(rows,
 * columns); w_i: weights; λ: `lambda`; Û, V̂: polar factors of all left and all right vectors side by side; mean(S):
 * the sum of all values divided by r. s is rounded half to even. Singular values ≤ 1e-6 of the largest count as 0. 1-D
 * tensors are averaged.
 * Deviations: the floor ⌊r/n⌋ (in the authors' program, the common part can become negative).
 * Source: arXiv 2502.04959.
 */
import { ANY_BASIS } from '../shared/adapters.js'
import { matrixPasses } from '../shared/held.js'
import { LAMBDA, ON_TASK_VECTORS } from '../shared/taskVectors.js'
import type { Method } from '../types.js'

export const isoCts: Method = {
  ...ON_TASK_VECTORS,
  name: 'iso_cts',
  summary: 'isotropic merging in a common subspace and one subspace per task',
  formula: 'first triplets of Σ w_i δ_i and, outside of them, of each w_i δ_i; b + λ · mean(S) Û V̂ᵀ',
  paper: '2502.04959',
  parameters: [
    LAMBDA,
    {
      name: 'common',
      type: 'number',
      default: 0.8,
      minimum: 0,
      maximum: 1,
      describe: 'Fraction of the dimensions shared by all tasks.',
    },
  ],
  adapters: ANY_BASIS,
  effective: ({ weights }) => weights,
  passes: (settings) => matrixPasses(settings, 'iso_cts', { common: Number(settings.parameters.common) }),
}
