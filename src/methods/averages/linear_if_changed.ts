/**
 * Linear where something changed: the weighted average of a tensor with the base's, if a model differs from the base by
 * more than a threshold, and the base's tensor otherwise.
 *
 *   b + Σ w_i δ_i / (w_b + Σ w_i)   if max_i ‖δ_i‖/√N > threshold;   b, bit for bit, otherwise
 *
 * b: the base's tensor; δ_i = x_i − b; w_i: the models' weights; w_b: `base_weight`; N: the number of elements; ‖·‖: the
 * 2-norm of all elements. The first is (w_b b + Σ w_i x_i)/(w_b + Σ w_i). A sum of weights of 0 divides by 1. A
 * difference that is not finite exceeds every threshold. `lines` scales the difference from b.
 */
import { elements } from '../../core/dtypes.js'
import { ON_TASK_VECTORS } from '../shared/taskVectors.js'
import { scaleOf, shares } from '../shared/weights.js'
import type { Method, TensorSettings } from '../types.js'

/** The shares of the models. That of the base is the rest. */
const ownShares = ({ weights, parameters }: Pick<TensorSettings, 'weights' | 'parameters'>): number[] =>
  shares([Number(parameters.base_weight), ...weights]).slice(1)

export const linearIfChanged: Method = {
  ...ON_TASK_VECTORS,
  name: 'linear_if_changed',
  summary:
    'the weighted average with the base where a model differs from it by more than a threshold, the base elsewhere',
  formula: 'b + Σ w_i δ_i/(w_b + Σ w_i) if max_i ‖δ_i‖/√N > threshold, b otherwise',
  parameters: [
    {
      name: 'threshold',
      type: 'number',
      default: 0,
      minimum: 0,
      describe: 'The root mean square of the differences of a tensor up to which it counts as unchanged.',
    },
    { name: 'base_weight', type: 'number', default: 1, minimum: 0, describe: 'The weight of the base.' },
  ],
  adapters: {
    kind: 'refused',
    why: 'its threshold is for differences of whole tensors',
  },
  effective: ({ weights }) => weights.map(() => null),
  passes: ({ models, shape }) => ({
    reduces: [{ kernel: 'squares', slots: models.length, combine: 'sums' }],
    map: {
      kernel: 'task',
      coefficients(input) {
        const size = elements(shape)
        const most = Number(input.parameters.threshold)
        const same = input.results[0]!.every((square) => Math.sqrt(square / size) <= most)
        return same ? models.map(() => 0) : ownShares(input).map((share) => scaleOf(input) * share)
      },
    },
  }),
}
