/**
 * DARE: elements of task vectors are dropped at random, and the rest is rescaled.
 *
 *   keep each element of δ_i with probability density;  D_i = w_i s_i δ_i
 *   dare_linear: b + λ Σ D_i, divided by Σ w_i if normalize;  dare_ties: the D_i under ties' elected sign
 *
 * b: the base's tensor; δ_i = x_i − b; w_i: weights; s_i: 1/density under `rescale: inverse`; λ: `lambda`. Random
 * numbers depend only on the seed, the model's name, the tensor's name and the element's index (core/random.ts), not on
 * threads or other models. density 1 drops nothing, and density 0 skips the model.
 * Deviations: `rescale: l1`, one number per tensor, follows mergekit.
 * Source: arXiv 2311.03099.
 */
import { randomStream } from '../../core/random.js'
import {
  BY_AGREEING,
  BY_ALL,
  type Combination,
  DENSITY,
  kernelCoefficients,
  normalizeParameter,
  perModel,
  RESCALE_INVERSE,
  rescaleOf,
  sparseMap,
} from '../shared/sparse.js'
import { LAMBDA, ON_TASK_VECTORS } from '../shared/taskVectors.js'
import { normalized } from '../shared/weights.js'
import type { Method, Passes, PassInput, ReducePass, TensorSettings } from '../types.js'

function darePasses(settings: TensorSettings, combination: Combination): Passes {
  const { models, seed, tensor } = settings
  const densities = perModel(settings, 'density')
  const rescale = rescaleOf(settings, 'inverse')
  const deciders = () =>
    models.map((model, index) => [...randomStream(seed, model, tensor), Math.fround(densities[index]!)])
  const sums: ReducePass = {
    kernel: 'dropped_l1',
    slots: 2 * models.length,
    combine: 'sums',
    coefficients: () =>
      kernelCoefficients(
        [],
        deciders().map((entry) => [1, 1, ...entry]),
      ),
  }
  const measured = rescale === 'l1' && densities.some((density) => density < 1)

  function scales({ results }: PassInput): number[] {
    return densities.map((density, model) => {
      if (density === 0) return 0
      if (rescale === 'inverse') return 1 / density
      if (!measured) return 1
      const [all, left] = [results[0]![model]!, results[0]![models.length + model]!]
      return left === 0 ? 1 : all / left
    })
  }

  return { reduces: measured ? [sums] : [], map: sparseMap(settings, 'dropped', combination, scales, deciders) }
}

const shared = {
  ...ON_TASK_VECTORS,
  paper: '2311.03099',
  byPlace: true,
  random: true,
} as const

export const dareLinear: Method = {
  ...shared,
  name: 'dare_linear',
  summary: 'the sum of randomly thinned and rescaled task vectors, added to the base',
  formula: 'keep elements of δ_i with probability density, rescaled; b + λ Σ w_i δ_i',
  parameters: [DENSITY, normalizeParameter(false, BY_ALL), LAMBDA, RESCALE_INVERSE],
  effective: normalized,
  passes: (settings) => darePasses(settings, 'sum'),
}

export const dareTies: Method = {
  ...shared,
  name: 'dare_ties',
  summary: 'randomly thinned and rescaled task vectors, merged where they agree with an elected sign',
  formula: 'keep elements of δ_i with probability density, rescaled; then as ties',
  parameters: [DENSITY, normalizeParameter(false, BY_AGREEING), LAMBDA, RESCALE_INVERSE],
  effective: ({ weights }) => weights,
  passes: (settings) => darePasses(settings, 'elect'),
}
