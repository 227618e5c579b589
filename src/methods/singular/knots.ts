/**
 * knots: task vectors are expressed in one basis from a joint decomposition, and merged there.
 *
 *   [δ_1 … δ_n] = U S [V_1 … V_n]ᵀ;  b + λ · U · inner(S V_1ᵀ, …, S V_nᵀ)
 *   inner: `ties` (trim each factor to density, elect signs by w_i, average what agrees) or `task_arithmetic` (Σ w_i)
 *
 * b: the base's tensor; δ_i = x_i − b, as the matrix [first axis, the rest]; w_i: weights; λ: `lambda`. The factors
 * include S, as in the authors' program, so that trimming depends on the contribution of an element. Among equal
 * magnitudes (as float32), the lowest index comes first. Inner task_arithmetic is plain task arithmetic, since U UᵀΔ is
 * Δ. Singular values ≤ 1e-6 of the largest count as 0. 1-D tensors are averaged. If singular values are equal, the
 * basis and the result are not unique.
 * Source: arXiv 2410.19735.
 */
import { matrixPasses } from '../shared/held.js'
import { LAMBDA, ON_TASK_VECTORS } from '../shared/taskVectors.js'
import { scaleOf } from '../shared/weights.js'
import type { Method } from '../types.js'

export const knots: Method = {
  ...ON_TASK_VECTORS,
  name: 'knots',
  summary: 'task vectors in a shared basis from a joint singular value decomposition, merged there by ties',
  formula: '[δ_1 … δ_n] = U S [V_1 … V_n]ᵀ; b + λ · U · ties(S V_1ᵀ, …, S V_nᵀ)',
  paper: '2410.19735',
  byPlace: true,
  parameters: [
    {
      name: 'density',
      type: 'number',
      default: 1,
      minimum: 0,
      maximum: 1,
      perModel: true,
      describe: 'Fraction of the elements of each factor to keep, the largest first.',
    },
    LAMBDA,
    {
      name: 'inner',
      type: 'choice',
      default: 'ties',
      choices: ['ties', 'task_arithmetic'],
      describe: 'How the factors are merged.',
    },
  ],
  effective: ({ weights }) => weights,
  passes: (settings) => {
    const { parameters, weights, shape } = settings
    if (parameters.inner === 'task_arithmetic' && shape.length > 1)
      return {
        reduces: [],
        map: { kernel: 'task', coefficients: (input) => weights.map((weight) => scaleOf(input) * weight) },
      }
    return matrixPasses(settings, 'knots', { density: parameters.density as readonly number[] })
  },
}
