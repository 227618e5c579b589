/**
 * DELLA: elements of task vectors are dropped at random, larger ones less often, and the rest is rescaled.
 *
 *   keep an element of δ_i with p = density − ε + 2ε·r, r = rank/(n − 1) its rank by magnitude in its row, 0 the smallest
 *   D_i = w_i δ_i/p (rescale: inverse)
 *   della_linear: b + λ Σ D_i, divided by Σ w_i if normalize;  della: the D_i under ties' elected sign
 *
 * b: the base's tensor; δ_i = x_i − b; n: elements of a row, a vector along the last axis; ε: `epsilon`; w_i: weights;
 * λ: `lambda`. In rows of one element, p = density. density 1 drops nothing and density 0 everything; otherwise density
 * ± ε must be inside (0, 1). Among equal magnitudes (as float32), the lower index ranks higher. p is computed in
 * float64 and rounded to float32. Random numbers are those of dare.
 * Deviations: `rescale: l1`, one number per tensor, follows mergekit.
 * Source: arXiv 2406.11617.
 */
import { randomStream } from '../../core/random.js'
import { rankBytes } from '../../kernels/types.js'
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
import type {
  Method,
  ParameterSchema,
  Passes,
  PassInput,
  ReducePass,
  Refusal,
  Resolved,
  TensorSettings,
} from '../types.js'

const EPSILON: ParameterSchema = {
  name: 'epsilon',
  type: 'number',
  default: 0.15,
  minimum: 0,
  maximum: 1,
  perModel: true,
  describe: 'Distance of the keep probability from density, for the largest and the smallest element of a row.',
}

/** Keep probabilities by rank for rows of n elements, the smallest magnitude first. */
const byRank = (n: number, density: number, epsilon: number): Float32Array =>
  Float32Array.from({ length: n }, (_, rank) =>
    density === 0 ? 0 : density - epsilon + 2 * epsilon * (rank / (n - 1)),
  )

function dellaPasses(settings: TensorSettings, combination: Combination): Passes {
  const { models, seed, tensor, shape } = settings
  const [densities, epsilons] = [perModel(settings, 'density'), perModel(settings, 'epsilon')]
  const rescale = rescaleOf(settings, 'inverse')
  const length = shape.at(-1) ?? 1
  const thinned = densities.some((density) => density < 1)
  // Models with equal density and epsilon share their probabilities.
  const kinds = models.map((_, index) => `${densities[index]} ${epsilons[index]}`)
  const distinct = [...new Set(kinds)].map((kind) => kinds.indexOf(kind))
  const table = () => {
    // Tables are float64, but the kernel reads float32: two fit into one. None of them is a NaN, whose bits a copy
    // could change.
    const slots = Math.ceil((distinct.length * length) / 2)
    const values = new Float64Array(slots)
    const list = new Float32Array(values.buffer)
    for (const [place, index] of distinct.entries())
      list.set(byRank(length, densities[index]!, epsilons[index]!), place * length)
    return { per: 'tensor', slots, values } as const
  }
  const deciders = () =>
    models.map((model, index) => {
      const density = densities[index]!
      const common = density === 1 || length < 2 ? Math.fround(density) : 0
      const divides = rescale === 'inverse' && density < 1 ? 1 : 0
      const begin = distinct.indexOf(kinds.indexOf(kinds[index]!)) * length
      return [...randomStream(seed, model, tensor), common, divides, begin]
    })
  const measured = rescale === 'l1' && thinned
  const ranks = thinned && length > 1 ? { table } : {}
  const sums: ReducePass = {
    kernel: 'ranked_l1',
    slots: 10 * models.length,
    combine: 'sums',
    rows: true,
    coefficients: () =>
      kernelCoefficients(
        [],
        deciders().map((entry) => [1, 1, ...entry]),
      ),
    ...ranks,
  }

  function scales({ results }: PassInput): number[] {
    if (!measured) return models.map(() => 1)
    return densities.map((density, model) => {
      const [all, left] = [results[0]![model]!, results[0]![models.length + model]!]
      return density === 1 || left === 0 ? 1 : all / left
    })
  }

  return {
    reduces: measured ? [sums] : [],
    map: sparseMap(settings, 'ranked', combination, scales, deciders, {
      rows: true,
      scratch: rankBytes(length) + models.length * (length + 3) * 8,
      ...ranks,
    }),
  }
}

const listOf = (value: Resolved | undefined): readonly number[] =>
  Array.isArray(value) ? (value as readonly number[]) : [Number(value)]

function refuse({ parameters }: Pick<TensorSettings, 'parameters'>): Refusal | undefined {
  const [densities, epsilons] = [listOf(parameters.density), listOf(parameters.epsilon)]
  for (const [index, density] of densities.entries()) {
    const epsilon = epsilons[index] ?? epsilons[0]!
    if (density === 0 || density === 1 || (density - epsilon > 0 && density + epsilon < 1)) continue
    return {
      parameter: 'density',
      message: `density ${density} and epsilon ${epsilon} give keep probabilities from ${density - epsilon} to ${density + epsilon}, which are not all between 0 and 1`,
      hint: 'choose density − epsilon > 0 and density + epsilon < 1; density 1 keeps all elements, 0 none',
    }
  }
  return undefined
}

const shared = {
  ...ON_TASK_VECTORS,
  paper: '2406.11617',
  byPlace: true,
  random: true,
  refuse,
} as const

export const dellaLinear: Method = {
  ...shared,
  name: 'della_linear',
  summary: 'the sum of task vectors thinned at random by rank of magnitude and rescaled, added to the base',
  formula: 'keep elements of δ_i with p = density − ε + 2ε·rank in the row, divided by p; b + λ Σ w_i δ_i',
  parameters: [DENSITY, EPSILON, normalizeParameter(false, BY_ALL), LAMBDA, RESCALE_INVERSE],
  effective: normalized,
  passes: (settings) => dellaPasses(settings, 'sum'),
}

export const della: Method = {
  ...shared,
  name: 'della',
  summary: 'task vectors thinned at random by rank of magnitude, merged where they agree with an elected sign',
  formula: 'keep elements of δ_i with p = density − ε + 2ε·rank in the row, divided by p; then as ties',
  parameters: [DENSITY, EPSILON, normalizeParameter(true, BY_AGREEING), LAMBDA, RESCALE_INVERSE],
  effective: ({ weights }) => weights,
  passes: (settings) => dellaPasses(settings, 'elect'),
}
