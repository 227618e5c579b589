import { gather } from './apply.js'

/**
 * How an axis of an aligned tensor is made from the stored one: the stored numbers times `before`, taken block by block
 * through a matrix (place i of the block takes Σ_j matrix[i, j] · stored[from + j]) or, without one, as they are; then times
 * `after`. Blocks fill the axis in order.
 */
export interface AxisProduct {
  readonly axis: number
  readonly before?: Float64Array
  readonly blocks: readonly Block[]
  readonly after?: Float64Array
}

export interface Block {
  /** First place in the stored axis. */
  readonly from: number
  readonly size: number
  /** size × size, row-major. */
  readonly matrix?: Float64Array
}

/** A permutation as blocks of one place each would be large: it comes as a map. */
export type AxisChange = AxisProduct | { readonly axis: number; readonly map: Int32Array }

/** A whole tensor through its changes, in float64, rounded to float32 once: the reference for readers that work tile by tile. */
export function applyChanges(
  data: Float32Array,
  shape: readonly number[],
  changes: readonly AxisChange[],
): Float32Array {
  if (changes.length === 0) return data
  let values: Float64Array = Float64Array.from(data)
  for (const change of changes) {
    values = 'map' in change ? gather(values, shape, [change]) : applyProduct(values, shape, change)
  }
  return Float32Array.from(values)
}

function applyProduct(
  data: Float64Array,
  shape: readonly number[],
  { axis, before, blocks, after }: AxisProduct,
): Float64Array {
  const length = shape[axis]!
  const inner = shape.slice(axis + 1).reduce((product, n) => product * n, 1)
  const outer = data.length / (length * inner)
  const out = new Float64Array(data.length)
  for (let o = 0; o < outer; o++) {
    const base = o * length * inner
    let to = 0
    for (const { from, size, matrix } of blocks) {
      for (let i = 0; i < size; i++, to++) {
        const row = base + to * inner
        const scale = after ? after[to]! : 1
        for (let j = matrix ? 0 : i; j < (matrix ? size : i + 1); j++) {
          const factor = (matrix ? matrix[i * size + j]! : 1) * (before ? before[from + j]! : 1) * scale
          if (factor === 0) continue
          const source = base + (from + j) * inner
          for (let p = 0; p < inner; p++) out[row + p] = out[row + p]! + factor * data[source + p]!
        }
      }
    }
  }
  return out
}
