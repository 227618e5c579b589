/**
 * RAM: the mean change over the models that changed the element.
 *
 *   b + Σ δ_i / c over the models with |δ_i| > ε, c of them; b where there is none
 *
 * b: the base's tensor; δ_i = x_i − b; ε: `epsilon`. The sum is computed in the recipe's order and then divided. NaN
 * does not count as a change.
 * Source: arXiv 2601.13572.
 */
import { changedMap, EPSILON } from '../shared/changed.js'
import { ON_TASK_VECTORS } from '../shared/taskVectors.js'
import type { Method } from '../types.js'

export const ram: Method = {
  ...ON_TASK_VECTORS,
  name: 'ram',
  summary: 'the mean change over the models that changed the element',
  formula: 'b + Σ δ_i/c over the c models with |δ_i| > ε',
  paper: '2601.13572',
  weights: false,
  parameters: [EPSILON],
  effective: ({ weights }) => weights.map(() => null),
  passes: () => ({ reduces: [], map: changedMap(({ models }) => models.map(() => 1)) }),
}
