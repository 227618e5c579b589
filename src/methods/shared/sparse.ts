/**
 * What methods that drop elements of task vectors have in common: parameters, coefficients of the kernels in
 * kernels/assembly/sparse/sparse.ts and ranked.ts, and `rescale`.
 *
 * rescale: `inverse` divides each kept element by its keeping probability (ties, breadcrumbs: the density); `l1` multiplies
 * by Σ abs(δ) / Σ abs(δ kept), one number a tensor, 1 where that divides by 0.
 */
import { BLOCK, type MapKernel } from '../../kernels/types.js'
import type { MapPass, ParameterSchema, PassInput, Resolved, TensorSettings } from '../types.js'
import { ranged, scaleOf, sumOf } from './weights.js'

export type Rescale = false | 'inverse' | 'l1'

const rescaleParameter = (byDefault: boolean | string, meant: string): ParameterSchema => ({
  name: 'rescale',
  type: 'boolean',
  default: byDefault,
  choices: [true, false, 'inverse', 'l1'],
  describe: `How to rescale for dropped elements: inverse divides by the keep probability, l1 restores the L1 norm; true means ${meant}.`,
})
export const RESCALE_L1 = rescaleParameter(false, 'l1')
export const RESCALE_INVERSE = rescaleParameter('inverse', 'inverse')

export const DENSITY: ParameterSchema = {
  name: 'density',
  type: 'number',
  default: 1,
  minimum: 0,
  maximum: 1,
  perModel: true,
  describe: 'Fraction of the elements of each task vector to keep.',
}
/** `by`: what is divided by. */
export const normalizeParameter = (byDefault: boolean, by: string): ParameterSchema => ({
  name: 'normalize',
  type: 'boolean',
  default: byDefault,
  describe: `Divide by ${by}.`,
})
export const BY_ALL = 'the sum of the weights'
export const BY_AGREEING = 'the sum of the weights that agree with the elected sign'

export function rescaleOf({ parameters: { rescale } }: Pick<TensorSettings, 'parameters'>, whenTrue: Rescale): Rescale {
  if (rescale === true) return whenTrue
  return rescale === 'inverse' || rescale === 'l1' ? rescale : false
}

/** A parameter that may differ between models: one number a model. */
export function perModel({ models, parameters }: TensorSettings, name: string): readonly number[] {
  const value: Resolved | undefined = parameters[name]
  return Array.isArray(value) ? (value as readonly number[]) : models.map(() => Number(value))
}

/** What decides on one model's elements, as the kernels take it: so many numbers, in their order. */
export interface Keeping {
  readonly low: number
  readonly lowCut: number
  readonly high: number
  readonly highCut: number
}
/** Nothing is dropped: all keys lie above −1 and none above this. */
export const KEEP_ALL: Keeping = { low: -1, lowCut: 0, high: 0x7fffffff, highCut: 0 }

/** How the parts are put together: added up, or under an elected sign. */
export type Combination = 'sum' | 'elect'

const FILL = 12

/** λ, normalize and two more, then for each model its coefficient, its weight and what decides on its elements. */
export const kernelCoefficients = (
  head: readonly number[],
  models: readonly (readonly number[])[],
): readonly number[] => [
  ...Array.from({ length: 4 }, (_, index) => head[index] ?? 0),
  ...models.flatMap((entry) => Array.from({ length: FILL }, (_, index) => entry[index] ?? 0)),
]

/**
 * The map pass. `scales`: by model, what makes up for dropped elements; 0 leaves the model out. `deciders`: by model,
 * what comes after coefficient and weight.
 */
export function sparseMap(
  settings: TensorSettings,
  kind: 'trimmed' | 'dropped' | 'ranked',
  combination: Combination,
  scales: (input: PassInput) => readonly number[],
  deciders: (input: PassInput) => readonly (readonly number[])[],
  more: Partial<MapPass> = {},
): MapPass {
  const kernel: MapKernel = `${kind}_${combination}`
  return {
    kernel,
    scratch: settings.models.length * BLOCK * 8,
    coefficients: (input) => {
      const { parameters } = input
      const [scale, normalize] = [scaleOf(input), parameters.normalize === true]
      const weights = normalize ? ranged(input.weights) : input.weights
      const divisor = (normalize && sumOf(weights)) || 1
      const decided = deciders(input)
      const entries = scales(input).map((rescale, model) => {
        const weight = weights[model]!
        // An elected sum is divided by the weights that agree, element by element, and λ comes last.
        const coefficient = combination === 'elect' ? weight * rescale : (scale * weight * rescale) / divisor
        return [coefficient, weight, ...decided[model]!]
      })
      return kernelCoefficients([scale, normalize ? 1 : 0], entries)
    },
    ...more,
  }
}
