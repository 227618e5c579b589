import { sharedCopy, sharedFloats } from '../../core/collections/sharedArrays.js'
import { byRows, type Operand } from '../../kernels/linalg.js'
import type { AxisMap } from '../../views/types.js'
import { gather } from '../apply.js'
import { placesOf } from '../places.js'
import type { ThreadTeam } from '../team/team.js'
import type { Weights } from '../weights.js'

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
export type AxisChange = AxisProduct | AxisMap

/**
 * A whole tensor through its changes, on memory that threads share. Products are float32 in fixed blocks of the inner dimension,
 * by matrices that are float64 with their factors and rounded once.
 */
export async function applyChanges(
  data: Float32Array,
  shape: readonly number[],
  changes: readonly AxisChange[],
  team: ThreadTeam,
): Promise<Float32Array> {
  let values = sharedCopy(data)
  let maps: AxisMap[] = []
  for (const change of changes) {
    if ('map' in change) {
      if (maps.some(({ axis }) => axis === change.axis)) {
        values = sharedCopy(gather(values, shape, maps))
        maps = []
      }
      maps.push(change)
      continue
    }
    const out = sharedFloats(values.length)
    await addThrough(out, values, shape, maps, change, team)
    values = out
    maps = []
  }
  return maps.length > 0 ? sharedCopy(gather(values, shape, maps)) : values
}

/**
 * The same of a tensor that is read in parts where its changes work row by row, so that the result is all that is held whole.
 */
export async function changedTensor(
  weights: Weights,
  name: string,
  changes: readonly AxisChange[],
  team: ThreadTeam,
): Promise<Float32Array> {
  const { shape } = weights.source.tensors.get(name)!
  const product = changes.at(-1)
  const before = changes.slice(0, -1)
  const byRow =
    shape.length === 2 &&
    product?.axis === 1 &&
    !('map' in product) &&
    before.every((change) => change.axis === 0 && 'map' in change)
  if (!byRow || before.length > 1) return applyChanges(await weights.get(name), shape, changes, team)
  const [count, width] = shape as [number, number]
  const [first] = before
  const map = first && 'map' in first ? first.map : undefined
  const out = sharedFloats(count * width)
  const most = Math.max(1, Math.floor(weights.part / width))
  for (let row = 0; row < count; row += most) {
    const rows = Int32Array.from({ length: Math.min(most, count - row) }, (_, i) => map?.[row + i] ?? row + i)
    const { data, starts, release } = await weights.rows(name, rows)
    const places = { axis: 0, map: starts.map((start) => start / width) }
    const part = out.subarray(row * width, (row + rows.length) * width)
    await addThrough(part, data, [rows.length, width], [places], product, team)
    release()
    await team.pause()
  }
  return out
}

/** Adds a tensor through maps of its axes and then a product along one axis to `out`, of the shape given. */
async function addThrough(
  out: Float32Array,
  data: Float32Array,
  shape: readonly number[],
  maps: readonly AxisMap[],
  change: AxisChange,
  team: ThreadTeam,
): Promise<void> {
  if ('map' in change) throw new Error('internal: a permutation is not a product')
  const { axis, before, blocks, after } = change
  const length = shape[axis]!
  const inner = placesOf(shape.slice(axis + 1), maps, axis + 1)
  const outer = placesOf(shape.slice(0, axis), maps, 0).map((place) => place * length * inner.length)
  const map = maps.find((one) => one.axis === axis)?.map
  const along = Int32Array.from({ length }, (_, i) => (map ? map[i]! : i) * inner.length)
  let to = 0
  for (const { from, size, matrix } of blocks) {
    const factor = (i: number, j: number) => (before ? before[from + j]! : 1) * (after ? after[to + i]! : 1)
    if (!matrix) {
      for (let o = 0; o < outer.length; o++)
        for (let i = 0; i < size; i++)
          for (let p = 0; p < inner.length; p++)
            out[(o * length + to + i) * inner.length + p]! +=
              factor(i, i) * data[outer[o]! + along[from + i]! + inner[p]!]!
    } else {
      const scaled = sharedFloats(size * size)
      for (let i = 0, at = 0; i < size; i++)
        for (let j = 0; j < size; j++, at++) scaled[at] = matrix[at]! * factor(i, j)
      const rests = along.subarray(from, from + size)
      const by = byRows(scaled, size, size)
      const stored = (units: Int32Array): Operand => ({ data, units, rests })
      // Along the last axis all rows at once; along another the matrix comes from the left, for each run of rows.
      if (inner.length === 1) await team.addProduct({ c: out, at: to, stride: length, x: stored(outer), y: by })
      else
        for (const [o, start] of outer.entries()) {
          const at = (o * length + to) * inner.length
          const y = stored(inner.map((place) => start + place))
          await team.addProduct({ c: out, at, stride: inner.length, x: by, y })
        }
    }
    to += size
  }
}
