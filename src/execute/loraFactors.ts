import { DTYPES, elements, isFloat } from '../core/dtypes.js'
import type { LoraExpr, LoraFactor } from '../plan/types.js'
import type { Factor, LoraNode } from './program.js'

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
      ...{ file, offset, dtype, elementBytes: DTYPES[dtype].bits / 8, byRank, count },
      leaf: slot(file, offset, bytes),
      ...(view ? { view } : {}),
      ...(map ? { map } : {}),
    }
  }
  const [rows, rest] = left ? [shape[0]!, 1] : [1, 0]
  const columns = elements(shape.slice(rest))
  return {
    columns,
    ...(left ? { left: factor(left, rows, maps?.[0]) } : {}),
    right: factor(right, columns, maps && flattened(shape.slice(rest), maps.slice(rest))),
  }
}

/** One map over places of several axes, counted in row-major order; null where all stay as they are. */
function flattened(shape: readonly number[], maps: readonly (Int32Array | null)[]): Int32Array | null {
  if (maps.every((map) => !map)) return null
  let all = Int32Array.of(0)
  for (const [axis, size] of shape.entries()) {
    const map = maps[axis]
    const next = new Int32Array(all.length * size)
    for (let at = 0; at < next.length; at++) {
      const place = at % size
      next[at] = all[(at - place) / size]! * size + (map ? map[place]! : place)
    }
    all = next
  }
  return all
}
