/** Places of elements along axes, with strides and maps, and how slices, permutations and reshapes change them. */
import { elements } from '../core/dtypes.js'
import type { AxisPlaces } from './readers.js'
import type { AxisMap } from './types.js'

/** `start`: the element from which all places count. */
export interface Places extends AxisPlaces {
  readonly start: number
}

export const rowMajor = (shape: readonly number[]): number[] => {
  const strides = new Array<number>(shape.length)
  let stride = 1
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    strides[axis] = stride
    stride *= shape[axis]!
  }
  return strides
}

/** The places of all elements of a shape: in row-major order, or with these strides. */
export const placesOf = (shape: readonly number[], strides: readonly number[] = rowMajor(shape)): Places => ({
  start: 0,
  shape,
  strides,
  maps: shape.map(() => null),
})

/** Whether the elements are contiguous. */
export function isRun({ shape, strides, maps }: Places): boolean {
  if (maps.some((map) => map)) return false
  let stride = 1
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    if (shape[axis] !== 1 && strides[axis] !== stride) return elements(shape) === 0
    stride *= shape[axis]!
  }
  return true
}

/** The number of elements from `start` to the last place. */
export function extentOf({ shape, strides, maps }: AxisPlaces): number {
  if (shape.includes(0)) return 0
  const most = (axis: number): number => maps[axis]?.reduce((top, place) => Math.max(top, place), 0) ?? shape[axis]! - 1
  return shape.reduce((sum, _, axis) => sum + most(axis) * strides[axis]!, 1)
}

export function sliced({ start, shape, strides, maps }: Places, axis: number, from: number, count: number): Places {
  const map = maps[axis]
  return {
    start: map ? start : start + from * strides[axis]!,
    shape: shape.with(axis, count),
    strides,
    maps: map ? maps.with(axis, map.slice(from, from + count)) : maps,
  }
}

export const permuted = ({ start, shape, strides, maps }: Places, axes: readonly number[]): Places => ({
  start,
  shape: axes.map((axis) => shape[axis]!),
  strides: axes.map((axis) => strides[axis]!),
  maps: axes.map((axis) => maps[axis]!),
})

/** The only place along an axis, `count` times. */
export function repeated({ start, shape, strides, maps }: Places, axis: number, count: number): Places {
  const first = (maps[axis]?.[0] ?? 0) * strides[axis]!
  return {
    start: start + first,
    shape: shape.with(axis, count),
    strides: strides.with(axis, 0),
    maps: maps.with(axis, null),
  }
}

/** Applies more maps: place i becomes the former place `map[i]`. A map may have another length than the axis. */
export function mapped({ start, shape, strides, maps }: Places, more: readonly AxisMap[]): Places {
  const [size, all] = [[...shape], [...maps]]
  for (const { axis, map } of more) {
    const first = all[axis]
    all[axis] = first ? map.map((place) => first[place]!) : map
    size[axis] = map.length
  }
  return { start, shape: size, strides, maps: all }
}

/**
 * The same places with another shape. Undefined if strides can't express it. Axes that keep their size keep their map.
 */
export function reshaped({ start, shape, strides, maps }: Places, to: readonly number[]): Places | undefined {
  if (elements(shape) === 0) return placesOf(to)
  const made: { strides: number[]; maps: (Int32Array | null)[] } = { strides: [], maps: [] }
  let [from, next] = [0, 0]
  while (from < shape.length || next < to.length) {
    // The smallest groups of axes of both shapes with equal numbers of elements.
    let [end, last] = [from, next]
    let [old, fresh] = [1, 1]
    if (end < shape.length) old *= shape[end++]!
    if (last < to.length) fresh *= to[last++]!
    while (old !== fresh) {
      if (old < fresh) old *= shape[end++]!
      else fresh *= to[last++]!
    }
    const own = onlyAxis(shape, maps, from, end)
    const target = to.findIndex((size, axis) => axis >= next && axis < last && size === old)
    if (own !== undefined && target >= 0) {
      for (let axis = next; axis < last; axis++) {
        made.strides.push(strides[own]!)
        made.maps.push(axis === target ? maps[own]! : null)
      }
    } else {
      const inner = groupStride(shape, strides, maps, from, end)
      if (inner === undefined) return undefined
      made.strides.push(...rowMajor(to.slice(next, last)).map((stride) => stride * inner))
      for (let axis = next; axis < last; axis++) made.maps.push(null)
    }
    ;[from, next] = [end, last]
  }
  return { start, shape: to, ...made }
}

/** The only axis in a range that has more than one place, or a map; undefined if there is not exactly one. */
function onlyAxis(
  shape: readonly number[],
  maps: readonly (Int32Array | null)[],
  from: number,
  end: number,
): number | undefined {
  const axes = shape.flatMap((size, axis) => (axis >= from && axis < end && (size !== 1 || maps[axis]) ? [axis] : []))
  return axes.length === 1 ? axes[0] : undefined
}

/** The stride of a range of axes if it is uniform; undefined otherwise. */
function groupStride(
  shape: readonly number[],
  strides: readonly number[],
  maps: readonly (Int32Array | null)[],
  from: number,
  end: number,
): number | undefined {
  let [inner, next] = [undefined as number | undefined, 0]
  for (let axis = end - 1; axis >= from; axis--) {
    // A map may select another place than the first.
    if (maps[axis]) return undefined
    if (shape[axis] === 1) continue
    if (inner === undefined) inner = strides[axis]!
    else if (strides[axis] !== next) return undefined
    next = strides[axis]! * shape[axis]!
  }
  return inner ?? 1
}
