import { CHUNK, type Compute } from '../kernels/types.js'
import { leavesOf, mergesOf, passesOf, settingsOf } from './cost.js'
import type { Expr } from './types.js'

/** Bytes of a worker's scratch space that the rows of one tensor may take; the rest is for its tile and small things. */
const ROOM = 56 * 2 ** 20

/**
 * The method that can't merge a tensor because it works on whole rows (along the last axis) and these are too long to lie in
 * a worker's scratch space; undefined where there is none.
 */
export function tooLongFor(
  expr: Expr,
  tensor: string,
  shape: readonly number[],
  compute: Compute,
): { readonly method: string; readonly rowLength: number } | undefined {
  const rowLength = shape.at(-1) ?? 1
  if (rowLength <= CHUNK) return undefined
  const merges = mergesOf(expr)
  const passes = merges.map((merge) => passesOf(merge, settingsOf(merge, tensor, shape, 0)))
  const byRows = passes.findIndex(
    ({ map, reduces }) => map.rows || reduces.some(({ rows, combine }) => rows || combine === 'rows'),
  )
  if (byRows < 0) return undefined
  const buffers = (leavesOf(expr).length + merges.length) * 3 * rowLength * (compute === 'f64' ? 8 : 4)
  const scratch = passes.reduce((sum, { map }) => sum + (map.scratch ?? 0), 0)
  return buffers + scratch > ROOM ? { method: merges[byRows]!.method, rowLength } : undefined
}
