import type { MapPass, PassInput, ReducePass } from '../types.js'
import { scaleOf } from './weights.js'

/** Shared by ram and ramplus_tl: a model changed an element if |δ_i| > ε. */
export const EPSILON = {
  name: 'epsilon',
  type: 'number',
  default: 1e-5,
  minimum: 0,
  describe: 'A model changed an element if the absolute change is larger than this.',
} as const

/** b + the mean of the changes. A change that one model alone made is multiplied by that model's factor. */
export const changedMap = (factors: (input: PassInput) => readonly number[]): MapPass => ({
  kernel: 'changed',
  coefficients: (input) => [...factors(input), Number(input.parameters.epsilon), scaleOf(input)],
})

/** Counts, per model, the elements that it changed alone and those that it changed with others. */
export const changesPass = (inputs: number): ReducePass => ({
  kernel: 'changes',
  slots: 2 * inputs,
  combine: 'counts',
  coefficients: ({ parameters }) => [Number(parameters.epsilon)],
})

/** Per model: elements changed with others, divided by elements changed alone (at least ε). */
export function sharedOverAlone(counts: Float64Array, epsilon: number): number[] {
  const n = counts.length / 2
  return Array.from({ length: n }, (_, i) => counts[n + i]! / Math.max(counts[i]!, epsilon))
}
