/**
 * Fisher: an average that weights each element by the model's Fisher information.
 *
 *   Σ w_i F_i x_i / Σ w_i F_i
 *
 * x_i: the models' tensors; w_i: weights; F_i: the diagonal Fisher information from the model's `statistics` (a
 * safetensors file with the model's names and shapes), at least `floor`. An element that matters to no model is the
 * weighted mean, also with a floor of 0. Sums are computed in the compute dtype, in the recipe's order. A sum of
 * weights of 0, or statistics without the tensor, are errors at planning. Source: arXiv 2111.09832.
 */

import { ranged, shares } from '../shared/weights.js'
import type { Method } from '../types.js'

export const fisher: Method = {
  name: 'fisher',
  aliases: [],
  summary: 'the average weighted by Fisher information, element by element',
  formula: 'Σ w_i F_i x_i / Σ w_i F_i, F_i from the statistics of each model',
  paper: '2111.09832',
  base: 'none',
  weights: true,
  divides: () => true,
  statistics: true,
  models: { least: 2, needed: 2 },
  parameters: [
    {
      name: 'floor',
      type: 'number',
      default: 1e-6,
      minimum: 0,
      describe: 'Lower bound of the Fisher information of each element.',
    },
  ],
  adapters: {
    kind: 'refused',
    why: 'it weighs each element of a weight by its own statistics, so that the result is not low-rank',
  },
  effective: ({ weights }) => shares(weights),
  passes: () => ({
    reduces: [],
    map: {
      kernel: 'fisher',
      coefficients: ({ weights, parameters }) => [...ranged(weights), Number(parameters.floor)],
    },
  }),
}
