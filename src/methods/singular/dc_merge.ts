/**
 * dc_merge: the task vectors with smoothed spectra, in one orthogonal space for all, merged there and projected back.
 *
 *   δ_i ≈ U_i S_i V_iᵀ cut to r triplets, S_i smoothed;  Û, V̂: the polar factors of [U_1 … U_n] and [V_1 … V_n]
 *   M_i = Ûᵀ(U_i S_i V_iᵀ)V̂;  of each M_i the k = max(1, int(density·N)) elements of the largest magnitude, and what equals the last
 *   t: the mean of those with the sign of their sum, in the n diagonal blocks of r × r only;  b + λ · Û t V̂ᵀ
 *
 * b: the base's tensor; δ_i = x_i − b, as the matrix [first axis, the rest]; m = min(rows, columns); r: `rank`, or int(m/n);
 * N = (n·r)² with `rank`, m² without; λ: `lambda`. All in float64. Smoothing: `average`, all of S their mean; `linear`, weights in even
 * steps from min(rho, s_1/s_r) down to 1; the sum of S stays. n·r > m or r = 0, and tensors with fewer than two axes: b + λ · mean δ_i.
 * Of a model only the triplets count whose singular value is over 1e-6 of the largest, so that one that did not change the tensor has
 * none. (In the authors' program the rest is arbitrary.) With the default density a matrix of side 44 or less keeps one element a model.
 * The authors smooth adapters, of rank `rank`, and not full fine-tunes.
 * Source: arXiv 2603.06242.
 */

import { averagedTask, matrixPasses, sidesOf } from '../shared/held.js'
import { NEVER_ABOVE_AVERAGE } from '../shared/quality.js'
import { LAMBDA, ON_TASK_VECTORS } from '../shared/taskVectors.js'
import type { Method } from '../types.js'

export const dcMerge: Method = {
  ...ON_TASK_VECTORS,
  name: 'dc_merge',
  summary: 'task vectors with smoothed spectra, merged by elected signs in a shared orthogonal space',
  formula: 'M_i = Ûᵀ(smoothed U_i S_i V_iᵀ)V̂; trim each, elect signs, keep the diagonal blocks; b + λ · Û t V̂ᵀ',
  paper: '2603.06242',
  note: NEVER_ABOVE_AVERAGE,
  weights: false,
  parameters: [
    LAMBDA,
    {
      name: 'density',
      type: 'number',
      default: 0.001,
      minimum: 0,
      maximum: 1,
      describe: 'Fraction of the elements of each M_i to keep, the largest first; at least one.',
    },
    {
      name: 'rank',
      type: 'integer',
      default: 'equal',
      choices: ['equal'],
      minimum: 1,
      describe: 'Singular triplets per model; equal: the shorter side divided by the number of models.',
    },
    {
      name: 'smoothing',
      type: 'choice',
      default: 'none',
      choices: ['none', 'average', 'linear'],
      describe: 'How singular values are made more even; average or linear for adapters.',
    },
    {
      name: 'rho',
      type: 'number',
      default: 5,
      minimum: 1,
      describe: 'With linear smoothing, the largest ratio of the first to the last singular value.',
    },
  ],
  adapters: { kind: 'refused', why: 'what it keeps depends on the sides of the whole weight' },
  effective: ({ weights }) => weights.map(() => null),
  passes(settings) {
    const { shape, parameters, models } = settings
    const { density, smoothing, rho } = parameters
    const { short } = sidesOf(shape)
    const count = models.length
    const given = parameters.rank !== 'equal'
    const rank = given ? Number(parameters.rank) : Math.floor(short / count)
    if (shape.length < 2 || rank === 0 || count * rank > short) return averagedTask(settings)
    const elements = given ? (count * rank) ** 2 : short * short
    const kept = Math.max(1, Math.trunc(Number(density) * elements))
    return matrixPasses(settings, 'dc_merge', { rank, kept, smoothing: String(smoothing), rho: Number(rho) })
  },
}
