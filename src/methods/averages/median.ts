/**
 * Median: the middle of each element's values in the models; for an even number of models, the mean of the middle
 * two.
 *
 * NaN in any model gives NaN. Zeros of both signs are equal and keep the recipe's order.
 */
import { NEVER_ABOVE_AVERAGE } from '../shared/quality.js'
import type { Method } from '../types.js'

export const median: Method = {
  name: 'median',
  aliases: [],
  summary: 'the median of each element',
  formula: 'the middle of the sorted x_i; of an even number (lo + hi)/2 of the middle two',
  note: NEVER_ABOVE_AVERAGE,
  base: 'none',
  weights: false,
  divides: () => false,
  models: { least: 2, needed: 2 },
  parameters: [],
  effective: ({ weights }) => weights.map(() => null),
  passes: () => ({ reduces: [], map: { kernel: 'median', coefficients: () => [] } }),
}
