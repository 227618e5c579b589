/** Which box of a tensor each rank of a mesh holds (torch/distributed/tensor/_utils.py, compute_local_shape_and_global_offset). */
import type { Placement } from './sharded.js'

export interface Share {
  readonly starts: readonly number[]
  readonly shape: readonly number[]
}

/** The sizes of a mesh whose ranks have these places. Undefined if they are not exactly the places of a mesh. */
export function meshOf(places: readonly (readonly number[])[]): readonly number[] | undefined {
  const sizes = places[0]!.map((_, axis) => Math.max(...places.map((place) => place[axis] ?? 0)) + 1)
  const isMesh =
    places.every((place) => place.length === sizes.length) &&
    new Set(places.map((place) => place.join())).size === places.length &&
    sizes.reduce((product, size) => product * size, 1) === places.length
  return isMesh ? sizes : undefined
}

/**
 * The box of the rank at this place; undefined if another rank holds the same elements first. Axes are divided as `torch.chunk` does: the
 * first parts are equal, and the last can be shorter or empty. Throws `bad` if the placements are unsupported.
 */
export function shareOf(
  shape: readonly number[],
  mesh: readonly number[],
  place: readonly number[],
  placements: readonly Placement[],
  bad: (what: string) => Error,
): Share | undefined {
  if (placements.some(({ axis }, at) => axis === undefined && place[at]! > 0)) return undefined
  const [starts, sizes] = [shape.map(() => 0), [...shape]]
  for (const at of inOrder(placements, mesh, bad)) {
    const axis = placements[at]!.axis!
    const size = sizes[axis]!
    const part = Math.ceil(size / mesh[at]!)
    const start = Math.min(size, place[at]! * part)
    starts[axis] = starts[axis]! + start
    sizes[axis] = Math.min(part, size - start)
  }
  return { starts, shape: sizes }
}

/** Mesh axes in the order in which they divide a tensor. A strided placement comes after the one that it is strided by. */
function inOrder(placements: readonly Placement[], mesh: readonly number[], bad: (what: string) => Error): number[] {
  const order: number[] = []
  for (const [at, { axis, strided }] of placements.entries()) {
    if (axis === undefined || order.includes(at)) continue
    if (strided !== undefined) {
      const later = placements.findIndex((other, index) => index > at && other.axis === axis)
      const several = placements.filter((other) => other.axis === axis).length > 2
      if (later < 0 || several || placements[later]!.strided !== undefined || mesh[later] !== strided)
        throw bad('its placements are strided in a way that terge does not read')
      order.push(later)
    }
    order.push(at)
  }
  return order
}
