/**
 * TIES: trims each task vector, elects a sign per element, and merges the values with that sign.
 *
 *   trim each δ_i to its k = max(1, int(density·N)) largest magnitudes;  D_i = w_i s_i δ_i
 *   sign + where Σ D_i ≥ 0, else −;  τ = Σ of the D_i with that sign, divided by Σ of their w_i if normalize;  b + λ·τ
 *
 * b: the base's tensor; δ_i = x_i − b; N: its elements; w_i: weights; s_i: the factor of `rescale`; λ: `lambda`. Among
 * equal magnitudes (as float32), the lowest index comes first. A D_i of 0 has no sign. If the agreeing weights sum to
 * 0, the divisor is 1. If Σ D_i is NaN, the result is NaN. Sums are computed in the order of models, in the compute
 * dtype.
 * Deviations: the paper has no `rescale`; l1 follows mergekit.
 * Source: arXiv 2306.01708.
 */
import { BY_AGREEING, DENSITY, normalizeParameter, perModel, RESCALE_L1 } from '../shared/sparse.js'
import { LAMBDA, ON_TASK_VECTORS } from '../shared/taskVectors.js'
import { trimmedPasses } from '../shared/trimmed.js'
import type { Method } from '../types.js'

export const ties: Method = {
  ...ON_TASK_VECTORS,
  name: 'ties',
  summary: 'task vectors trimmed to their largest elements, merged where they agree with an elected sign',
  formula: 'trim δ_i to density by magnitude; sign of Σ w_i δ_i; b + λ · mean of the w_i δ_i with that sign',
  paper: '2306.01708',
  byPlace: true,
  parameters: [DENSITY, normalizeParameter(true, BY_AGREEING), LAMBDA, RESCALE_L1],
  effective: ({ weights }) => weights,
  passes: (settings) => {
    const densities = perModel(settings, 'density')
    return trimmedPasses(settings, 'elect', (model, elements) => ({
      cut: 0,
      kept: Math.max(1, Math.trunc(densities[model]! * elements)),
    }))
  },
}
