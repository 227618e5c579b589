import { bytesOf } from '../encodings/index.js'
import { loraBytes } from '../kernels/lora.js'
import { CHUNK, type Compute, TILE } from '../kernels/types.js'
import { decodeScratch } from '../views/decodeScratch.js'
import { dtypeOf } from '../views/shape.js'
import { isPlain } from '../views/stored.js'
import { columnsOf, leavesOf, mergesOf, passesOf, settingsOf } from './cost.js'
import type { Expr } from './types.js'
import { partsOf, placesOf } from './walk.js'

/** Bytes of a worker's scratch space for one tensor. The rest is for its tile and small data. */
const ROOM = 56 * 2 ** 20
/** Bytes of a worker's memory for windows on the inputs. Its addresses have 32 bits. */
const WINDOWS = 2 ** 32 - 2 ** 27
/** Bytes of a window in addition to its rows: it starts and ends at a page boundary. */
const PAGES = 2 ** 17

export interface ScratchFault {
  readonly code: 'row-too-long' | 'too-many-inputs'
  readonly message: string
  readonly hint: string
}

/**
 * Why a tensor does not fit into a worker's memory. Possible reasons: too long rows for methods that work on whole
 * rows (along the last axis); rows of several lengths, from nested merges of cropped vectors; too many inputs; too
 * high adapter ranks. Undefined if it fits.
 */
export function scratchFault(
  expr: Expr,
  tensor: string,
  whole: readonly number[],
  compute: Compute,
): ScratchFault | undefined {
  const merges = mergesOf(expr, whole)
  const passes = merges.map(({ merge, shape }) => passesOf(merge, settingsOf(merge, tensor, shape, 0)))
  const byRows = merges.filter((_, index) => {
    const { map, reduces } = passes[index]!
    return map.rows || reduces.some(({ rows, combine }) => rows || combine === 'rows')
  })
  const lengths = [...new Set(byRows.map(({ shape }) => shape.at(-1) ?? 1))]
  const [method, rowLength] = [byRows[0]?.merge.method, Math.max(0, ...lengths)]
  const tooLong = (why: string): ScratchFault => ({
    code: 'row-too-long',
    message: `${method} needs whole rows in memory, but ${why}`,
    hint: 'use another method for this tensor in a rule, or exclude it with filters',
  })
  if (lengths.length > 1)
    return tooLong(`nested merges give the rows of ${tensor} several lengths: ${lengths.join(' and ')} elements`)
  const leaves = leavesOf(expr)
  const reach = Math.max(CHUNK, rowLength) + 2 * rowLength
  const gathered = leaves.filter(({ view }) => !isPlain(view))
  const tile = TILE + 2 * rowLength
  const updates = updateBytes(expr, whole, compute, reach)
  const computeBytes = compute === 'f64' ? 8 : 4
  const held = passes.filter(({ held }) => held).length
  // Tensors that are computed whole are outside of a worker's memory and are copied into it tile by tile.
  const computed = partsOf([expr]).filter(({ kind }) =>
    ['computed', 'factor', 'core', 'constant'].includes(kind),
  ).length
  const bytes =
    bufferCount(expr, whole) * reach * computeBytes +
    passes.reduce((sum, { map }) => sum + (map.scratch ?? 0), 0) +
    gathered.reduce((sum, { view }) => sum + bytesOf(dtypeOf(view) ?? 'F64', tile), 0) +
    decodeScratch(gathered.map(({ view }) => view)) +
    (held + computed) * tile * computeBytes +
    updates
  if (bytes <= ROOM && leaves.length * (tile * 8 + PAGES) <= WINDOWS) return undefined
  if (rowLength > CHUNK) return tooLong(`a row of ${tensor} has ${rowLength} elements, which is too long`)
  const within = held > 1 ? `, with ${held} nested merges of whole matrices` : ''
  const all = `${tensor} depends on too many stored tensors at once: ${leaves.length}${within}`
  return {
    code: 'too-many-inputs',
    message: updates > ROOM / 2 ? `${all}, and the ranks of their adapters are too high` : all,
    hint: 'merge some of the models first, and merge the result with the others in another run',
  }
}

/** The number and kind of passes do not depend on the tensor's name or the seed. */
const placesIn = (expr: Expr, whole: readonly number[]): ReadonlyMap<Expr, number> =>
  placesOf(expr, whole, (merge, shape) => passesOf(merge, settingsOf(merge, '', shape, 0)))

/** Buffers of a tensor's program: one per stored tensor and per merge, for each reach in which it is made. */
export function bufferCount(expr: Expr, whole: readonly number[]): number {
  const parts = partsOf([expr])
  // Usually all inputs are read, so that each part is made once.
  const simple = parts.every((part) => part === expr || part.kind === 'read')
  const places: ReadonlyMap<Expr, number> = simple ? new Map() : placesIn(expr, whole)
  return parts.reduce(
    (sum, part) => sum + (part.kind === 'read' || part.kind === 'merge' ? (places.get(part) ?? 1) : 0),
    0,
  )
}

/** Bytes of a worker's scratch space for adapter updates. `reach`: the most elements that are requested at once. */
export function updateBytes(expr: Expr, whole: readonly number[], compute: Compute, reach: number): number {
  const updates = partsOf([expr]).filter((part) => part.kind === 'lora')
  if (updates.length === 0) return 0
  const places = placesIn(expr, whole)
  const count = updates.reduce((sum, part) => sum + (places.get(part) ?? 1), 0)
  return updates.reduce((sum, part) => {
    const { rank } = part
    const columns = columnsOf(part)
    return sum + (places.get(part) ?? 1) * loraBytes({ rank, columns }, compute, reach, count)
  }, 0)
}
