/** Tensors to merge: all the shapes that tiles, chunks and rows can trip over, as few elements as that takes. */
import type { OutputDtype } from '../../src/core/dtypes.js'
import type { Compute, Given } from '../reference/numeric.js'
import { bell } from '../reference/samples.js'
import type { Tensors } from './harness.js'

/** A scalar, vectors, rows shorter and longer than a chunk, more than a tile with rows that do not divide it, a convolution. */
export const SHAPES: Readonly<Record<string, readonly number[]>> = {
  scalar: [],
  one: [1],
  'model.layers.0.vector': [37],
  'model.layers.1.rows': [13, 101],
  'model.layers.2.long': [3, 5003],
  'model.layers.3.convolution': [6, 5, 3, 3],
  'model.layers.3.large': [301, 881],
}

export const DTYPES: readonly OutputDtype[] = ['F32', 'BF16', 'F16', 'F64']
export const COMPUTES: readonly Compute[] = ['float32', 'float64']

const known = new Map<string, Float32Array>()

/** Drawn once: a large tensor's numbers take longer than its merge. */
function drawn(name: string, n: number, scale: number): Float32Array {
  const key = `${name} ${n} ${scale}`
  const values = known.get(key) ?? bell(name, n, scale)
  known.set(key, values)
  return values
}

/** Fine-tunes of one base, `models` of them, for every shape; `settings` are laid over each. */
export function models(
  count: number,
  compute: Compute,
  settings: Partial<Given> & { readonly onBase?: boolean } = {},
  shapes: Readonly<Record<string, readonly number[]>> = SHAPES,
): Tensors {
  const { onBase = true, ...rest } = settings
  return Object.fromEntries(
    Object.entries(shapes).map(([name, shape]) => {
      const n = shape.reduce((product, size) => product * size, 1)
      const base = drawn(`${name} base`, n, 0.1)
      const inputs = Array.from({ length: count }, (_, model) => {
        const delta = drawn(`${name} ${model}`, n, 0.01)
        return base.map((value, i) => value + delta[i]!)
      })
      const given: Given = { inputs, ...(onBase ? { base } : {}), shape, compute, ...rest }
      return [name, given]
    }),
  )
}

/** Methods that hold whole matrices and take no statistics. */
export const MATRIX_METHODS: readonly string[] = [
  ...['iso_c', 'iso_cts', 'tsv_m', 'knots', 'star'],
  ...['cart', 'wudi', 'actmat', 'ace', 'dc_merge', 'svc', 'opcm'],
]
