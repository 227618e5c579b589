/**
 * star: spectral truncation and rescaling; the weak directions of each task vector are cut off, and the rest is
 * scaled up.
 *
 *   of each δ_i the fewest first singular triplets whose values sum to eta of all, times (sum of all)/(sum of the kept)
 *   b + λ · Σ w_i of these / Σ w_i
 *
 * b: the base's tensor; δ_i = x_i − b, as the matrix [first axis, the rest]; w_i: weights; λ: `lambda`. At least one
 * triplet is kept. A sum of weights of 0 divides by 1. Singular values ≤ 1e-6 of the largest count as 0. 1-D tensors
 * are averaged.
 * Source: arXiv 2502.10339.
 */
import { ANY_BASIS } from '../shared/adapters.js'
import { matrixPasses } from '../shared/held.js'
import { LAMBDA, ON_TASK_VECTORS } from '../shared/taskVectors.js'
import { normalized } from '../shared/weights.js'
import type { Method } from '../types.js'

export const star: Method = {
  ...ON_TASK_VECTORS,
  name: 'star',
  summary: 'the average of task vectors reduced to their strongest singular vectors and rescaled to their nuclear norm',
  formula: 'keep eta of the nuclear norm of each δ_i, restore it; b + λ · Σ w_i of these / Σ w_i',
  paper: '2502.10339',
  parameters: [
    LAMBDA,
    {
      name: 'eta',
      type: 'number',
      default: 0.4,
      minimum: 0,
      maximum: 1,
      describe: 'Fraction of the sum of singular values to keep.',
    },
  ],
  adapters: ANY_BASIS,
  effective: ({ weights }) => normalized({ weights, parameters: { normalize: true } }),
  passes: (settings) => matrixPasses(settings, 'star', { eta: Number(settings.parameters.eta) }, { averaged: true }),
}
