/**
 * MagMax: per element, the change with the largest magnitude.
 *
 *   b + λ·δ_i, i the model whose |δ_i| is largest
 *
 * b: the base's tensor; δ_i = x_i − b; λ: `lambda`. Among equal magnitudes, the first model counts. NaN in any model
 * gives NaN.
 * Source: arXiv 2407.06322.
 */
import { LAMBDA, ON_TASK_VECTORS } from '../shared/taskVectors.js'
import { scaleOf } from '../shared/weights.js'
import type { Method } from '../types.js'

export const magmax: Method = {
  ...ON_TASK_VECTORS,
  name: 'magmax',
  summary: 'the change with the largest magnitude, per element',
  formula: 'b + λ·δ_i, i the model with the largest |δ_i|',
  paper: '2407.06322',
  weights: false,
  parameters: [LAMBDA],
  effective: ({ weights }) => weights.map(() => null),
  passes: () => ({ reduces: [], map: { kernel: 'magmax', coefficients: (input) => [scaleOf(input)] } }),
}
