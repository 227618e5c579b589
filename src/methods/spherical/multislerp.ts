/**
 * Multislerp: a weighted mean of directions on the sphere, scaled by the weighted mean of the norms.
 *
 *   U_i = x_i/(‖x_i‖ + ε);  m = Σ w_i U_i, normalised;  τ = Σ w_i (U_i − (U_i·m) m)
 *   (m cos‖τ‖ + τ sin‖τ‖/‖τ‖) · Σ w_i ‖x_i‖
 *
 * x_i: the models' tensors, or their differences from a base that the recipe names and that is not merged; w_i:
 * weights, divided by their sum if `normalize_weights`; ε: `eps`. If ‖Σ w_i U_i‖ < ε, there is no mean direction: the
 * result is Σ w_i x_i, and a note reports it. All vectors are in the span of the x_i, so the only pass computes their
 * Gram matrix.
 * Source: mergekit.
 */

import { ANY_BASIS } from '../shared/adapters.js'
import { add, gramFrom, gramPasses, inner, length, unit } from '../shared/gram.js'
import { NEVER_ABOVE_AVERAGE } from '../shared/quality.js'
import { shares } from '../shared/weights.js'
import type { Method, PassInput, TensorSettings } from '../types.js'

function weightsOf({ weights, parameters }: Pick<TensorSettings, 'weights' | 'parameters'>): number[] {
  return parameters.normalize_weights === true ? shares(weights) : [...weights]
}

function coefficients(input: PassInput): number[] {
  const { parameters, math, note } = input
  const eps = Number(parameters.eps)
  const weights = weightsOf(input)
  const n = weights.length
  const dots = gramFrom(input, n)
  const norms = dots.map((row, i) => Math.sqrt(row[i]!))
  // A vector of norm 0 has no direction, for every eps.
  const long = norms.map((norm) => norm + eps || 1)
  const gram = dots.map((row, i) => row.map((x, j) => x / (long[i]! * long[j]!)))
  const size = length(gram, weights)
  if (size < eps || size === 0) {
    const moved = norms.some((norm) => norm > 0)
    if (moved) note?.("multislerp used the weighted average: the mean of the models' directions is 0")
    return weights
  }
  const mean = weights.map((weight) => weight / size)
  const along = add(weights.map((weight, i) => weight * inner(gram, unit(n, i), mean)))
  const tangent = weights.map((weight, i) => weight - along * mean[i]!)
  const angle = length(gram, tangent)
  const scale = add(weights.map((weight, i) => weight * norms[i]!))
  const swing = angle < eps || angle === 0 ? 0 : math.sin(angle) / angle
  const turn = angle < eps || angle === 0 ? 1 : math.cos(angle)
  return mean.map((m, i) => ((m * turn + tangent[i]! * swing) * scale) / long[i]!)
}

export const multislerp: Method = {
  name: 'multislerp',
  aliases: [],
  summary: 'the weighted spherical mean of any number of models',
  formula: '(m cos‖τ‖ + τ sin‖τ‖/‖τ‖)·Σ w_i ‖x_i‖, m the mean direction, τ the mean tangent there',
  note: NEVER_ABOVE_AVERAGE,
  base: 'optional',
  weights: true,
  divides: ({ normalize_weights }) => normalize_weights !== false,
  models: { least: 2, needed: 2 },
  parameters: [
    { name: 'normalize_weights', type: 'boolean', default: true, describe: 'Divide the weights by their sum.' },
    { name: 'eps', type: 'number', default: 1e-8, minimum: 0, describe: 'Added to each norm before dividing by it.' },
  ],
  adapters: ANY_BASIS,
  effective: weightsOf,
  passes: (settings) => ({
    reduces: gramPasses(settings, settings.models.length),
    map: { kernel: settings.onBase ? 'task' : 'linear', coefficients },
  }),
}
