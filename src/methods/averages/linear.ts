/**
 * Linear: the weighted average, or sum, of the models.
 *
 *   Σ w_i x_i / Σ w_i   (normalize)        Σ w_i x_i   (otherwise)
 *
 * x_i: the models' tensors, in the recipe's order; w_i: their weights, of any sign. The quotients w_i / Σ w_i are
 * computed first, in float64. The products are added in order and rounded once at the end. If normalize divides by a
 * sum of weights of 0, that is an error at planning.
 * Source: model soups, arXiv 2203.05482.
 */

import { normalized } from '../shared/weights.js'
import type { Method } from '../types.js'

export const linear: Method = {
  name: 'linear',
  aliases: ['arithmetic'],
  summary: 'the weighted average of the models',
  formula: 'Σ w_i x_i, divided by Σ w_i if normalize',
  paper: '2203.05482',
  base: 'none',
  weights: true,
  divides: ({ normalize }) => normalize !== false,
  models: { least: 2, needed: 2 },
  parameters: [{ name: 'normalize', type: 'boolean', default: true, describe: 'Divide by the sum of the weights.' }],
  adapters: { kind: 'sum', coefficients: normalized },
  effective: normalized,
  passes: () => ({ reduces: [], map: { kernel: 'linear', coefficients: normalized } }),
}
