/**
 * Geometric median: the point with the smallest weighted sum of distances to the models, over whole tensors.
 *
 *   y that minimises Σ w_i ‖x_i − y‖, by Weiszfeld's iteration;  y = x_1 + Σ a_i (x_i − x_1)
 *
 * x_i: the models' tensors; w_i: weights, whose sum must not be 0. The only pass computes the dot products of x_i −
 * x_1: ‖x_i − y‖² = (e_i − a)ᵀ G (e_i − a). The iteration starts at the weighted mean. Each step sets a_i ← (w_i/d_i)/Σ
 * (w_k/d_k), with distances d of at least 1e-12 times the largest initial distance, so that a point at a model can move
 * on. It stops after max_iter steps, or if a step is at most tol times Σ w_i/Σ (w_i/d_i). If all models are equal, the
 * result is exactly the first.
 * Source: Weiszfeld 1937; for models arXiv 1912.13445.
 */

import { ANY_BASIS } from '../shared/adapters.js'
import { add, type Gram, gramFrom, gramPasses, length } from '../shared/gram.js'
import { NEVER_ABOVE_AVERAGE } from '../shared/quality.js'
import { ranged, shares } from '../shared/weights.js'
import type { Method, PassInput } from '../types.js'

const COINCIDENT = 1e-12

/**
 * The Gram matrix of the differences from the first model, with a row and column of zeros for the first model itself.
 */
function differences(input: PassInput): Gram {
  const n = input.models.length
  const rest = gramFrom(input, n - 1)
  return [new Array<number>(n).fill(0), ...rest.map((row) => [0, ...row])]
}

function coefficients(input: PassInput): number[] {
  const { weights, parameters } = input
  const gram = differences(input)
  const distances = (a: readonly number[]) =>
    a.map((_, i) =>
      length(
        gram,
        a.map((x, j) => (i === j ? 1 : 0) - x),
      ),
    )
  const ratios = ranged(weights)
  const sum = add(ratios)
  let a = shares(weights)
  const spread = Math.max(...distances(a))
  for (let step = 0; step < Number(parameters.max_iter) && spread > 0; step++) {
    const pulls = distances(a).map((d, i) => ratios[i]! / Math.max(d, COINCIDENT * spread))
    const total = add(pulls)
    // Weights of both signs may cancel. Then the point found so far is the result.
    if (total === 0) break
    const next = pulls.map((pull) => pull / total)
    const moved = length(
      gram,
      next.map((x, i) => x - a[i]!),
    )
    a = next
    if (moved <= (Number(parameters.tol) * sum) / total) break
  }
  return a.slice(1)
}

export const geometricMedian: Method = {
  name: 'geometric_median',
  aliases: [],
  summary: 'the point with the smallest weighted sum of distances to the models',
  formula: 'y that minimises Σ w_i ‖x_i − y‖ over whole tensors',
  paper: '1912.13445',
  note: NEVER_ABOVE_AVERAGE,
  base: 'none',
  weights: true,
  divides: () => true,
  models: { least: 2, needed: 2 },
  parameters: [
    { name: 'max_iter', type: 'integer', default: 100, minimum: 0, describe: 'Maximum number of steps.' },
    {
      name: 'tol',
      type: 'number',
      default: 1e-8,
      minimum: 0,
      describe: 'Relative step size at which the iteration stops.',
    },
  ],
  adapters: ANY_BASIS,
  effective: ({ weights }) => shares(weights),
  passes: (settings) => ({
    origin: 'first',
    reduces: gramPasses(settings, settings.models.length - 1),
    map: { kernel: 'task', coefficients },
  }),
}
