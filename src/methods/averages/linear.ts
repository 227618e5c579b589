/**
 * Linear: the weighted average, or sum, of the models.
 *
 *   Σ w_i x_i / Σ w_i   (normalize)        Σ w_i x_i   (otherwise)
 *
 * x_i: the participants' tensors in order of the recipe; w_i: their weights, of any sign.
 * The quotients w_i / Σ w_i are taken first, in float64, and the products are added in order: one rounding at the end.
 * A sum of weights of 0 is a fault of the plan where normalize divides by it.
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
  effective: normalized,
  passes: () => ({ reduces: [], map: { kernel: 'linear', coefficients: normalized } }),
}
