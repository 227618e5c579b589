/**
 * Task arithmetic: the weighted sum of the task vectors, added to the base.
 *
 *   b + λ Σ w_i δ_i,   divided by Σ w_i if normalize
 *
 * b: the base's tensor; δ_i = x_i − b; w_i: weights, where negative ones remove a task; λ: `lambda`. The coefficients
 * λ·w_i (/ Σ w_i) are computed first, in float64. A sum of weights of 0 divides by 1.
 * Source: arXiv 2212.04089.
 */
import { LAMBDA, ON_TASK_VECTORS } from '../shared/taskVectors.js'
import { normalized, scaleOf } from '../shared/weights.js'
import type { Method, TensorSettings } from '../types.js'

function coefficients({ weights, parameters }: Pick<TensorSettings, 'weights' | 'parameters'>): readonly number[] {
  const divisor = parameters.normalize === true ? weights.reduce((sum, weight) => sum + weight, 0) : 1
  return weights.map((weight) => (scaleOf({ parameters }) * weight) / (divisor === 0 ? 1 : divisor))
}

export const taskArithmetic: Method = {
  ...ON_TASK_VECTORS,
  name: 'task_arithmetic',
  summary: 'the weighted sum of the task vectors, added to the base',
  formula: 'b + λ Σ w_i δ_i, divided by Σ w_i if normalize',
  paper: '2212.04089',
  parameters: [
    { name: 'normalize', type: 'boolean', default: false, describe: 'Divide by the sum of the weights.' },
    LAMBDA,
  ],
  adapters: { kind: 'sum', coefficients },
  effective: normalized,
  passes: () => ({ reduces: [], map: { kernel: 'task', coefficients } }),
}
