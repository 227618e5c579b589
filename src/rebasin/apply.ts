import { emptyTable } from '../core/collections/ownValue.js'
import { rowMajor } from '../views/places.js'
import type { AxisMap } from '../views/types.js'
import { type AxisPart, rootOf, type Spec } from './spec.js'

/**
 * Permutations by group: place i of the aligned model takes unit p[i] of the model. A group inside another has one run per outer
 * unit, in the order of the aligned model's outer units; its numbers count inside the unit that moved there.
 */
export type Permutations = Readonly<Record<string, Int32Array>>

export function identity(spec: Spec): Record<string, Int32Array> {
  const perms = emptyTable<Int32Array>()
  for (const [name, { size, inside }] of Object.entries(spec.groups)) {
    const runs = inside === undefined ? 1 : spec.groups[inside]!.size
    perms[name] = Int32Array.from({ length: runs * size }, (_, i) => i % size)
  }
  return perms
}

/** Writes the places of a part into the map of an axis. */
export function mapPart(spec: Spec, part: AxisPart, perms: Permutations, map: Int32Array): void {
  const sizes = part.units.map((unit) => (typeof unit === 'number' ? unit : spec.groups[unit]!.size))
  const strides = rowMajor(sizes)
  const walk = (k: number, to: number, from: number, outer: number) => {
    if (k === sizes.length) {
      map[to] = from
      return
    }
    const unit = part.units[k]!
    const size = sizes[k]!
    const stride = strides[k]!
    const perm = typeof unit === 'number' ? undefined : perms[unit]!
    const inner = typeof unit !== 'number' && spec.groups[unit]!.inside !== undefined
    for (let i = 0; i < size; i++) {
      const source = perm ? perm[inner ? outer * size + i : i]! : i
      walk(k + 1, to + i * stride, from + source * stride, perm && !inner ? i : outer)
    }
  }
  walk(0, part.offset, part.offset, 0)
}

/** The maps of the axes of a tensor, without those that are the identity. */
export function axisMaps(spec: Spec, perms: Permutations, tensor: string, shape: readonly number[]): AxisMap[] {
  const maps: AxisMap[] = []
  for (const [axis, length] of shape.entries()) {
    const parts = spec.parts.filter((part) => part.tensor === tensor && part.axis === axis)
    if (parts.length === 0) continue
    const map = Int32Array.from({ length }, (_, i) => i)
    for (const part of parts) mapPart(spec, part, perms, map)
    if (map.some((from, to) => from !== to)) maps.push({ axis, map })
  }
  return maps
}

/** Reads a whole tensor through maps. The reference for readers that gather tile by tile. */
export function gather<T extends Float32Array | Float64Array | Int32Array | Uint8Array | Uint16Array>(
  data: T,
  shape: readonly number[],
  maps: readonly AxisMap[],
): T {
  if (maps.length === 0) return data
  const out = data.slice() as T
  const byAxis = shape.map((_, axis) => maps.find((map) => map.axis === axis)?.map)
  const strides = rowMajor(shape)
  const walk = (axis: number, to: number, from: number) => {
    const map = byAxis[axis]
    const size = shape[axis]!
    const stride = strides[axis]!
    if (axis === shape.length - 1) {
      for (let i = 0; i < size; i++) out[to + i] = data[from + (map ? map[i]! : i)]!
    } else for (let i = 0; i < size; i++) walk(axis + 1, to + i * stride, from + (map ? map[i]! : i) * stride)
  }
  walk(0, 0, 0)
  return out
}

/** Applies `first`, then `second`: place i takes what `second` takes from the result of `first`. */
export function compose(
  spec: Pick<Spec, 'groups'>,
  first: Permutations,
  second: Permutations,
): Record<string, Int32Array> {
  const result = emptyTable<Int32Array>()
  for (const [name, { size, inside }] of Object.entries(spec.groups)) {
    const a = first[name]!
    const b = second[name]!
    const outer = inside === undefined ? undefined : second[inside]!
    result[name] = b.map((from, i) => a[(outer ? outer[Math.floor(i / size)]! * size : 0) + from]!)
  }
  return result
}

export function invert(spec: Pick<Spec, 'groups'>, perms: Permutations): Record<string, Int32Array> {
  const result = emptyTable<Int32Array>()
  for (const [name, { size, inside }] of Object.entries(spec.groups)) {
    const perm = perms[name]!
    const outer = inside === undefined ? undefined : perms[inside]!
    const inverse = new Int32Array(perm.length)
    perm.forEach((from, i) => {
      const run = outer ? outer[Math.floor(i / size)]! * size : 0
      inverse[run + from] = i % size
    })
    result[name] = inverse
  }
  return result
}

/**
 * The units of a group in their new order: place i of the aligned model takes unit order[i] of the model. For a group inside
 * another one, units are counted over all outer units.
 */
export function orderOf(spec: Pick<Spec, 'groups'>, perms: Permutations, group: string): Int32Array {
  const { size, inside } = spec.groups[group]!
  const outer = inside === undefined ? undefined : perms[inside]!
  return perms[group]!.map((from, i) => (outer ? outer[Math.floor(i / size)]! * size : 0) + from)
}

/** Number of units that move, in all groups or in one. */
export function unitsMoved(spec: Spec, perms: Permutations, group?: string): number {
  const names = group === undefined ? Object.keys(spec.groups) : [group]
  let moved = 0
  for (const name of names) {
    const { size } = spec.groups[name]!
    moved += perms[name]!.reduce((sum, from, i) => sum + (from === i % size ? 0 : 1), 0)
  }
  return moved
}

/** The groups without an outer group, in the order of the spec. */
export const rootGroups = (spec: Spec): string[] =>
  Object.keys(spec.groups).filter(
    (name) => spec.groups[name]!.inside === undefined && spec.parts.some((part) => rootOf(part) === name),
  )
