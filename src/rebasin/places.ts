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
