/** Parts along an axis: G groups, and in each the parts' slices follow one another. Views, without data. */
import { shapeOf } from '../views/shape.js'
import type { View } from '../views/types.js'

const sum = (sizes: readonly number[]): number => sizes.reduce((all, size) => all + size, 0)

/** An axis counted from the first one. */
export const axisIn = (shape: readonly number[], axis: number): number => (axis < 0 ? shape.length + axis : axis)

/** One part of a tensor. `sizes`: the length of each part's slice in one group; groups · their sum is the size of the axis. */
export function partOf(of: View, axis: number, groups: number, sizes: readonly number[], part: number): View {
  const shape = shapeOf(of)
  const start = sum(sizes.slice(0, part))
  const count = sizes[part]!
  if (groups === 1) return { kind: 'slice', of, axis, start, count }
  const apart: View = { kind: 'reshape', of, shape: shape.toSpliced(axis, 1, groups, sum(sizes)) }
  const slices: View = { kind: 'slice', of: apart, axis: axis + 1, start, count }
  return { kind: 'reshape', of: slices, shape: shape.with(axis, groups * count) }
}

/** The tensor of these parts. The size of each along the axis is a multiple of `groups`. */
export function ofParts(parts: readonly View[], axis: number, groups: number): View {
  if (groups === 1) return { kind: 'concat', axis, parts }
  const apart = parts.map((of): View => {
    const shape = shapeOf(of)
    return { kind: 'reshape', of, shape: shape.toSpliced(axis, 1, groups, shape[axis]! / groups) }
  })
  const of: View = { kind: 'concat', axis: axis + 1, parts: apart }
  const shape = shapeOf(parts[0]!)
  return { kind: 'reshape', of, shape: shape.with(axis, sum(parts.map((part) => shapeOf(part)[axis]!))) }
}

/** The last two axes swapped. */
export function transposed(of: View): View {
  const axes = [...shapeOf(of).keys()]
  return { kind: 'permute', of, axes: [...axes.slice(0, -2), axes.at(-1)!, axes.at(-2)!] }
}

/** One place of the first axis, without that axis. */
export function placeOf(of: View, place: number): View {
  const slice: View = { kind: 'slice', of, axis: 0, start: place, count: 1 }
  return { kind: 'reshape', of: slice, shape: shapeOf(of).slice(1) }
}

/** Tensors of one shape along a new first axis. */
export function stacked(parts: readonly View[]): View {
  const shape = [1, ...shapeOf(parts[0]!)]
  return { kind: 'concat', axis: 0, parts: parts.map((of): View => ({ kind: 'reshape', of, shape })) }
}
