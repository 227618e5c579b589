import type { AxisPlaces } from '../../../views/readers.js'

/** Copies `length` elements that begin at a place of a row, to an index of the result. */
export type CopyRun = (place: number, length: number, to: number) => void

/**
 * Walks over elements by their places, from row-major index `first` on. What lies together on the axes behind the last permuted one
 * is copied as a block. `rowAt` makes the elements of a row readable, which begins at that place.
 */
export function copyPlaces(places: AxisPlaces, first: number, count: number, rowAt: (start: number) => CopyRun): void {
  const { shape, strides, maps } = places
  const { block, outer } = blockOf(places)
  const last = outer - 1
  const size = shape[last] ?? 1
  const [stride, map] = [strides[last] ?? 0, maps[last]]
  let done = 0
  while (done < count) {
    const index = Math.floor((first + done) / block)
    const copy = rowAt(placeOf(places, last, Math.floor(index / size)))
    // Along the last permuted axis as far as it goes, so that the other axes are looked at once a row.
    for (let at = index % size; at < size && done < count; at++) {
      const inside = (first + done) % block
      const length = Math.min(block - inside, count - done)
      copy((map ? map[at]! : at) * stride + inside, length, done)
      done += length
    }
  }
}

/** Elements that a row reaches over at the most. */
export function rowExtent(places: AxisPlaces): number {
  const { shape, strides, maps } = places
  const { block, outer } = blockOf(places)
  const map = maps[outer - 1]
  return (map ? most(map) : (shape[outer - 1] ?? 1) - 1) * (strides[outer - 1] ?? 0) + block
}

const most = (map: Int32Array): number => map.reduce((top, place) => Math.max(top, place), 0)

/** Elements that lie one after the other whatever the permutations, and how many axes stand before those that they fill. */
function blockOf({ shape, strides, maps }: AxisPlaces): { block: number; outer: number } {
  let block = 1
  let outer = shape.length
  while (outer > 0 && !maps[outer - 1] && strides[outer - 1] === block) {
    outer--
    block *= shape[outer]!
  }
  return { block, outer }
}

/** Where the elements of an index over the first `axes` axes begin. */
function placeOf({ shape, strides, maps }: AxisPlaces, axes: number, index: number): number {
  let rest = index
  let place = 0
  for (let axis = axes - 1; axis >= 0; axis--) {
    const at = rest % shape[axis]!
    rest = (rest - at) / shape[axis]!
    place += (maps[axis]?.[at] ?? at) * strides[axis]!
  }
  return place
}

/** Bytes up to which a loop copies faster than a call of `set`. */
const SHORT = 16

/** Copies bytes, from `at` on of one array to `to` on of the other. */
export function copyBytes(source: Uint8Array, at: number, bytes: number, target: Uint8Array, to: number): void {
  if (bytes > SHORT) target.set(source.subarray(at, at + bytes), to)
  else for (let i = 0; i < bytes; i++) target[to + i] = source[at + i]!
}
