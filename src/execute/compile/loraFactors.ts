import { elements } from '../../core/dtypes.js'
import { bytesOf, isFloat } from '../../encodings/index.js'
import type { LoraExpr, LoraFactor } from '../../expr/types.js'
import { placesOf } from '../../rebasin/places.js'
import type { Factor, LoraNode } from '../program.js'

/**
 * The factors of an adapter's update as a program has them. `maps`: how places along the tensor's axes are read, where it is
 * aligned; `slot` makes a leaf for bytes of a file.
 */
export function loraFactors(
  { shape, left, right }: LoraExpr,
  maps: readonly (Int32Array | null)[] | undefined,
  slot: (file: number, offset: number, bytes: number) => number,
): Pick<LoraNode, 'columns' | 'left' | 'right'> {
  const factor = ({ read, byRank }: LoraFactor, count: number, map: Int32Array | null | undefined): Factor => {
    const { file, offset, bytes, dtype, view } = read
    if (!isFloat(dtype)) throw new Error(`internal: the factor ${read.tensor} has dtype ${dtype}`)
    return {
      ...{ file, offset, dtype, elementBytes: bytesOf(dtype), byRank, count },
      leaf: slot(file, offset, bytes),
      ...(view ? { view } : {}),
      ...(map ? { map } : {}),
    }
  }
  const [rows, rest] = left ? [shape[0]!, 1] : [1, 0]
  const columns = elements(shape.slice(rest))
  const moved = maps?.flatMap((map, axis) => (map && axis >= rest ? [{ axis, map }] : [])) ?? []
  return {
    columns,
    ...(left ? { left: factor(left, rows, maps?.[0]) } : {}),
    right: factor(right, columns, moved.length > 0 ? placesOf(shape.slice(rest), moved, rest) : undefined),
  }
}
