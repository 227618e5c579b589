/**
 * Model breadcrumbs: task vectors without their largest and their smallest elements, added to the base.
 *
 *   of each δ_i keep k = int(density·N) elements: cut the int(gamma·N) largest, and of the smallest as many as it takes
 *   b + λ Σ w_i s_i δ_i over what is kept, divided by Σ w_i if normalize
 *
 * b: the base's tensor; δ_i = x_i − b; N: its elements; w_i: weights; s_i: the factor of `rescale`; λ: `lambda`. If
 * density + gamma > 1, fewer of the largest are cut, so that k elements are kept. With k = 0 the result is the base.
 * Among equal magnitudes (as float32), the lowest index counts as the larger. A sum of weights of 0 divides by 1.
 * Source: arXiv 2312.06795.
 */
import { BY_AGREEING, BY_ALL, DENSITY, normalizeParameter, perModel, RESCALE_L1 } from '../shared/sparse.js'
import { LAMBDA, ON_TASK_VECTORS } from '../shared/taskVectors.js'
import { trimmedPasses } from '../shared/trimmed.js'
import { normalized } from '../shared/weights.js'
import type { Method, ParameterSchema, TensorSettings } from '../types.js'

const GAMMA: ParameterSchema = {
  name: 'gamma',
  type: 'number',
  default: 0.01,
  minimum: 0,
  maximum: 1,
  perModel: true,
  describe: 'Fraction of the largest elements of each task vector to drop.',
}

const ranges = (settings: TensorSettings) => {
  const [densities, gammas] = [perModel(settings, 'density'), perModel(settings, 'gamma')]
  return (model: number, elements: number) => {
    const kept = Math.trunc(densities[model]! * elements)
    return { cut: Math.min(Math.trunc(gammas[model]! * elements), elements - kept), kept }
  }
}

const shared = {
  ...ON_TASK_VECTORS,
  paper: '2312.06795',
  byPlace: true,
} as const

export const breadcrumbs: Method = {
  ...shared,
  name: 'breadcrumbs',
  summary: 'the sum of task vectors without their largest and smallest elements, added to the base',
  formula: 'drop the largest gamma and the smallest of δ_i so that density stays; b + λ Σ w_i δ_i',
  parameters: [DENSITY, GAMMA, normalizeParameter(false, BY_ALL), LAMBDA, RESCALE_L1],
  effective: normalized,
  passes: (settings) => trimmedPasses(settings, 'sum', ranges(settings)),
}

/** The same elements, merged under the elected sign of ties. */
export const breadcrumbsTies: Method = {
  ...shared,
  name: 'breadcrumbs_ties',
  summary: 'task vectors without their largest and smallest elements, merged where they agree with an elected sign',
  formula: 'drop the largest gamma and the smallest of δ_i so that density stays; then as ties',
  parameters: [DENSITY, GAMMA, normalizeParameter(false, BY_AGREEING), LAMBDA, RESCALE_L1],
  effective: ({ weights }) => weights,
  passes: (settings) => trimmedPasses(settings, 'elect', ranges(settings)),
}
