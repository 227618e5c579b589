/** Adds tensors through maps of their axes. */
import { rowMajor } from '../../views/places.js'
import type { PlaceMap } from './network.js'

/** out[map of each axis] += values · scales. Undefined maps: the axis stays as it is. */
export function addMapped(
  out: Float64Array | Float32Array,
  outShape: readonly number[],
  values: Float32Array,
  shape: readonly number[],
  maps: readonly (PlaceMap | undefined)[],
): void {
  const [steps, newSteps] = [rowMajor(shape), rowMajor(outShape)]
  const last = shape.length - 1
  if (last < 0) {
    out[0] = out[0]! + values[0]!
    return
  }
  const walk = (axis: number, from: number, to: number, factor: number): void => {
    const map = maps[axis]
    const size = shape[axis]!
    if (axis === last) {
      for (let i = 0; i < size; i++) {
        const place = to + (map ? map.to[i]! : i)
        out[place] = out[place]! + values[from + i]! * (map?.scale ? factor * map.scale[i]! : factor)
      }
      return
    }
    for (let i = 0; i < size; i++)
      walk(
        axis + 1,
        from + i * steps[axis]!,
        to + (map ? map.to[i]! : i) * newSteps[axis]!,
        map?.scale ? factor * map.scale[i]! : factor,
      )
  }
  walk(0, 0, 0, 1)
}
