import type { AxisMap } from '../views/types.js'

/** Offsets of all places along some axes in a row, `first` being the number of the first of them, in units of what follows them. */
export function placesOf(shape: readonly number[], maps: readonly AxisMap[], first: number): Int32Array {
  let places = new Int32Array(1)
  for (const [index, size] of shape.entries()) {
    const map = maps.find(({ axis }) => axis === first + index)?.map
    const next = new Int32Array(places.length * size)
    for (let i = 0, at = 0; i < places.length; i++)
      for (let j = 0; j < size; j++) next[at++] = places[i]! * size + (map ? map[j]! : j)
    places = next
  }
  return places
}

/** Sum of one offset from each list, the last list fastest. */
export function outerSum(lists: readonly ArrayLike<number>[]): Int32Array {
  let sums = new Int32Array(1)
  for (const list of lists) {
    const next = new Int32Array(sums.length * list.length)
    for (let i = 0, at = 0; i < sums.length; i++) for (let j = 0; j < list.length; j++) next[at++] = sums[i]! + list[j]!
    sums = next
  }
  return sums
}
