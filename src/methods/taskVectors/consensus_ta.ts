/**
 * Consensus task arithmetic: the summed task vectors, at elements that enough tasks need.
 *
 *   μ = Σ w_i δ_i;  mask_i = |δ_i| > τ·|μ − δ_i|;  b + λ·μ where at least k masks select, b elsewhere
 *
 * b: the base's tensor; δ_i = x_i − b; w_i: weights; τ: `tall_lambda`; λ: `lambda`. All in the compute dtype.
 * Deviation: the paper's ≥ is > here, so that no mask selects an element that no model changed. Its value is 0 either
 * way.
 * Source: TALL masks, arXiv 2405.07813.
 */
import { LAMBDA, ON_TASK_VECTORS } from '../shared/taskVectors.js'
import { scaleOf } from '../shared/weights.js'
import type { Method } from '../types.js'

export const consensusTa: Method = {
  ...ON_TASK_VECTORS,
  name: 'consensus_ta',
  summary: 'task arithmetic on the elements that at least k models need',
  formula: 'b + λ·μ where |δ_i| > τ·|μ − δ_i| for at least k models, μ = Σ w_i δ_i',
  paper: '2405.07813',
  parameters: [
    { name: 'k', type: 'integer', default: 2, minimum: 0, describe: 'How many models must need an element.' },
    { name: 'tall_lambda', type: 'number', default: 0.4, minimum: 0, describe: 'Threshold τ of the masks.' },
    LAMBDA,
  ],
  effective: ({ weights }) => [...weights],
  passes: () => ({
    reduces: [],
    map: {
      kernel: 'consensus',
      coefficients: (input) => [
        ...input.weights,
        Number(input.parameters.tall_lambda),
        Number(input.parameters.k),
        scaleOf(input),
      ],
    },
  }),
}
