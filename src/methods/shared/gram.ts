/**
 * Geometry in the span of the models' tensors. Vectors are coefficients, and only the dot products of the tensors are
 * needed.
 */
import type { PassInput, ReducePass, TensorSettings } from '../types.js'

/** The matrix of dot products of the inputs: of whole tensors, or of their differences from the base. */
export type Gram = readonly (readonly number[])[]

const entries = (inputs: number): number => (inputs * (inputs + 1)) / 2

/** The pass that computes the Gram matrix of whole tensors or of each row. */
const gramPass = (inputs: number, of: 'tensor' | 'rows' = 'tensor'): ReducePass => ({
  kernel: 'gram',
  slots: entries(inputs),
  combine: of === 'rows' ? 'rows' : 'sums',
})

/**
 * The passes for a Gram matrix. If squares may overflow float64, a second pass uses scaled inputs; it is skipped if all
 * sums are finite.
 */
export const gramPasses = (
  { wide }: Pick<TensorSettings, 'wide'>,
  inputs: number,
  of: 'tensor' | 'rows' = 'tensor',
): ReducePass[] => {
  const pass = gramPass(inputs, of)
  return wide
    ? [pass, { ...pass, kernel: 'gram_small', skip: ({ results }) => results[0]!.every(Number.isFinite) }]
    : [pass]
}

/** The Gram matrix of the whole tensor or of one row, up to a factor: methods only use ratios. */
export function gramFrom(input: PassInput, inputs: number, row = 0): Gram {
  const found = gramOf(resultOf(input), inputs, row)
  const small = input.results[1]
  return small?.length && !found.flat().every(Number.isFinite) ? gramOf(small, inputs, row) : found
}

/** The Gram matrix in the results of a pass: of the whole tensor or of one row. */
export function gramOf(sums: Float64Array, inputs: number, row = 0): Gram {
  const gram = Array.from({ length: inputs }, () => new Array<number>(inputs).fill(0))
  let at = row * entries(inputs)
  for (let i = 0; i < inputs; i++)
    for (let j = i; j < inputs; j++, at++) {
      gram[i]![j] = sums[at]!
      gram[j]![i] = sums[at]!
    }
  return gram
}

/** The result of the reduce pass with this index. */
export function resultOf({ results, tensor }: PassInput, pass = 0): Float64Array {
  const result = results[pass]
  if (!result) throw new Error(`internal: pass ${pass} over ${tensor} has no result`)
  return result
}

export const add = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0)

/** vᵀ G w. */
export const inner = (gram: Gram, v: readonly number[], w: readonly number[]): number =>
  add(v.map((left, i) => add(w.map((right, j) => left * gram[i]![j]! * right))))

export const length = (gram: Gram, v: readonly number[]): number => Math.sqrt(Math.max(0, inner(gram, v, v)))

/** The coefficients that give one model. */
export const unit = (inputs: number, which: number): number[] =>
  Array.from({ length: inputs }, (_, i) => (i === which ? 1 : 0))

export const clampUnit = (x: number): number => Math.min(1, Math.max(-1, x))

/** The number of rows, which are vectors along the last axis. A tensor without axes is one row. */
export const rowsOf = (shape: readonly number[]): number => shape.slice(0, -1).reduce((rows, size) => rows * size, 1)
