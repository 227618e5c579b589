import type { AnalysisTensor } from '../../expr/types.js'
import type { TensorReader } from '../analysis.js'

/** Reads rows of a tensor one after the other into an array. */
export type ReadRows = (rows: Int32Array, into: Float32Array) => Promise<void>

/** Reads rows of a tensor of two or more dimensions; of a tensor that can only be read as a whole, all rows once. */
export function rowReader(reader: TensorReader, tensor: AnalysisTensor, width: number): ReadRows {
  let whole: Promise<Float32Array> | undefined
  return async (rows, into) => {
    if (rows.length === 0) return
    if (!whole && (await reader.readRows(tensor, rows, into))) return
    whole ??= reader.read(tensor)
    const all = await whole
    for (const [at, row] of rows.entries()) into.set(all.subarray(row * width, (row + 1) * width), at * width)
  }
}
