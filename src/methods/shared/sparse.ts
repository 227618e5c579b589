/**
 * Shared by methods that drop elements of task vectors: parameters, coefficients of the kernels in
 * kernels/assembly/sparse/sparse.ts and ranked.ts, and `rescale`.
 *
 * rescale: `inverse` divides each kept element by its keep probability (ties, breadcrumbs: the density). `l1`
 * multiplies by Σ abs(δ) / Σ abs(δ kept), one number per tensor, or 1 if the divisor is 0.
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
/** `by`: the divisor, in words. */
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

/** The values of a per-model parameter: one number per model. */
export function perModel({ models, parameters }: TensorSettings, name: string): readonly number[] {
  const value: Resolved | undefined = parameters[name]
  return Array.isArray(value) ? (value as readonly number[]) : models.map(() => Number(value))
}

/** The thresholds for one model's elements, in the order of the kernels. */
export interface Keeping {
  readonly low: number
  readonly lowCut: number
  readonly high: number
  readonly highCut: number
}
/** Keeps all elements: every key is above −1 and below `high`. */
export const KEEP_ALL: Keeping = { low: -1, lowCut: 0, high: 0x7fffffff, highCut: 0 }

/** How the models are combined: summed, or merged under an elected sign. */
export type Combination = 'sum' | 'elect'

const FILL = 12

/** λ, normalize and two more numbers, then for each model its coefficient, its weight and its thresholds. */
export const kernelCoefficients = (
  head: readonly number[],
  models: readonly (readonly number[])[],
): readonly number[] => [
  ...Array.from({ length: 4 }, (_, index) => head[index] ?? 0),
  ...models.flatMap((entry) => Array.from({ length: FILL }, (_, index) => entry[index] ?? 0)),
]

/**
 * The map pass. `scales`: per model, the factor that compensates for dropped elements; 0 skips the model. `deciders`:
 * per model, the numbers after coefficient and weight.
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
        // An elected sum is divided per element by the weights that agree, and λ is applied last.
        const coefficient = combination === 'elect' ? weight * rescale : (scale * weight * rescale) / divisor
        return [coefficient, weight, ...decided[model]!]
      })
      return kernelCoefficients([scale, normalize ? 1 : 0], entries)
    },
    ...more,
  }
}
