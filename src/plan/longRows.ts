import { CHUNK, type Compute } from '../kernels/types.js'
import { leavesOf, mergesOf, passesOf, settingsOf } from './cost.js'
import type { Expr } from './types.js'

/** Bytes of a worker's scratch space that the rows of one tensor may take; the rest is for its tile and small things. */
const ROOM = 56 * 2 ** 20

/**
 * Why a tensor can't be merged by methods that work on whole rows (along the last axis): rows too long to lie in a worker's
 * scratch space, or of several lengths, as merges of cropped vectors within each other have them. Undefined where it can.
 */
export function rowFault(expr: Expr, tensor: string, whole: readonly number[], compute: Compute): string | undefined {
  const merges = mergesOf(expr, whole)
  const passes = merges.map(({ merge, shape }) => passesOf(merge, settingsOf(merge, tensor, shape, 0)))
  const byRows = merges.filter((_, index) => {
    const { map, reduces } = passes[index]!
    return map.rows || reduces.some(({ rows, combine }) => rows || combine === 'rows')
  })
  const lengths = [...new Set(byRows.map(({ shape }) => shape.at(-1) ?? 1))]
  const [method, rowLength] = [byRows[0]?.merge.method, Math.max(0, ...lengths)]
  if (lengths.length > 1)
    return `${method} works on whole rows, and those of ${tensor} have ${lengths.join(' and ')} elements in merges within each other`
  if (rowLength <= CHUNK) return undefined
  const buffers = (leavesOf(expr).length + merges.length) * 3 * rowLength * (compute === 'f64' ? 8 : 4)
  const scratch = passes.reduce((sum, { map }) => sum + (map.scratch ?? 0), 0)
  if (buffers + scratch <= ROOM) return undefined
  return `${method} works on whole rows, and a row of ${tensor} has ${rowLength} elements: more than it can hold`
}
