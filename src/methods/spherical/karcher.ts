/**
 * Karcher: the Riemannian mean of the models' directions on the sphere, scaled by the mean of their norms.
 *
 *   u_i = x_i/‖x_i‖;  m starts as their normalised mean
 *   T = mean of (θ_i/sin θ_i)(u_i − cos θ_i·m), θ_i = acos(u_i·m);  m moves along the great circle of T by ‖T‖
 *
 * Stops at ‖T‖ < tol or after max_iter steps. Models with a norm ≤ tol have no direction: they are skipped in m, but
 * not in the mean norm. If the mean is shorter than tol, m starts at the first direction. A model with θ_i < tol or at
 * the antipode does not move m. All vectors are in the span of the x_i, so the only pass computes their Gram matrix,
 * and the iteration works on coefficients in float64.
 * Source: arXiv 2603.04972.
 */

import { ANY_BASIS } from '../shared/adapters.js'
import { add, clampUnit, gramFrom, gramPasses, inner, length, unit } from '../shared/gram.js'
import { NEVER_ABOVE_AVERAGE } from '../shared/quality.js'
import type { Method, PassInput } from '../types.js'

function coefficients(input: PassInput): number[] {
  const { parameters, math, note } = input
  const tol = Number(parameters.tol)
  const dots = gramFrom(input, input.models.length)
  const norms = dots.map((row, i) => Math.sqrt(row[i]!))
  const used = norms.flatMap((norm, i) => (norm > tol ? [i] : []))
  const result = norms.map(() => 0)
  if (used.length === 0) return result
  const n = used.length
  const gram = used.map((i) => used.map((j) => dots[i]![j]! / (norms[i]! * norms[j]!)))
  let mean = used.map(() => 1 / n)
  const start = length(gram, mean)
  const cancelled = start < tol || start === 0
  if (cancelled) note?.('karcher started at the first model: the mean of the directions is 0')
  mean = cancelled ? unit(n, 0) : mean.map((m) => m / start)
  for (let step = 0; step < Number(parameters.max_iter); step++) {
    let tangent = used.map(() => 0)
    for (let which = 0; which < n; which++) {
      const cosine = clampUnit(inner(gram, unit(n, which), mean))
      const theta = math.acos(cosine)
      const sine = math.sin(theta)
      if (theta < tol || sine < tol || sine === 0) continue
      const factor = theta / sine / n
      tangent = tangent.map((t, i) => t + factor * ((i === which ? 1 : 0) - cosine * mean[i]!))
    }
    const size = length(gram, tangent)
    if (size < tol || size === 0) break
    const moved = mean.map((m, i) => math.cos(size) * m + (math.sin(size) * tangent[i]!) / size)
    const norm = length(gram, moved)
    mean = moved.map((m) => m / norm)
  }
  const scale = add(norms) / norms.length
  for (const [i, which] of used.entries()) result[which] = (mean[i]! * scale) / norms[which]!
  return result
}

export const karcher: Method = {
  name: 'karcher',
  aliases: [],
  summary: "the Riemannian mean of the models' directions, scaled by their mean norm",
  formula: 'm with Σ (θ_i/sin θ_i)(u_i − cos θ_i·m) = 0, times the mean of ‖x_i‖; u_i = x_i/‖x_i‖',
  paper: '2603.04972',
  note: NEVER_ABOVE_AVERAGE,
  base: 'none',
  weights: false,
  divides: () => false,
  models: { least: 2, needed: 2 },
  parameters: [
    { name: 'max_iter', type: 'integer', default: 10, minimum: 0, describe: 'Maximum number of steps.' },
    { name: 'tol', type: 'number', default: 1e-5, minimum: 0, describe: 'Step size below which the iteration stops.' },
  ],
  adapters: ANY_BASIS,
  effective: ({ weights }) => weights.map(() => null),
  passes: (settings) => ({
    reduces: gramPasses(settings, settings.models.length),
    map: { kernel: 'linear', coefficients },
  }),
}
