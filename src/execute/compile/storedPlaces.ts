/** Where the elements of a stored tensor are found: views and permutations of a plan as a worker follows them. */

import { elements } from '../../core/dtypes.js'
import { bytesOf } from '../../encodings/index.js'
import type { Alignment, ReadExpr } from '../../expr/types.js'
import type { Findings } from '../findings.js'
import type { Leaf } from '../program.js'

/** Of what is read, whatever lies in the file. */
export function storedElements({ rows, aligned, view, bytes, dtype }: ReadExpr): number {
  const shape = rows?.shape ?? aligned?.shape ?? view?.shape
  return shape ? elements(shape) : bytes / bytesOf(dtype)
}

/** How a stored tensor's elements are found: nothing where they lie one after the other. */
export function placeOf({ view, aligned }: ReadExpr, findings: Findings): Pick<Leaf, 'view' | 'gather'> {
  if (!aligned) return view ? { view } : {}
  const { by, rows, shape } = aligned
  const maps = composed(by, shape, findings)
  const strides = view?.strides ?? rowMajor(shape)
  if (rows) {
    const [first, ...others] = maps ?? shape.map(() => null)
    const some = first ? rows.map((row) => first[row]!) : rows
    return { gather: { shape: [rows.length, ...shape.slice(1)], strides, maps: [some, ...others] } }
  }
  if (!maps) return view ? { view } : {}
  return { gather: { shape, strides, maps } }
}

/** Permutations one after the other: place i of the result is place first[second[i]] of the stored tensor. */
export function composed(
  by: readonly Alignment[],
  shape: readonly number[],
  findings: Findings,
): (Int32Array | null)[] | undefined {
  const maps: (Int32Array | null)[] = shape.map(() => null)
  for (const alignment of by) {
    for (const { axis, map } of findings.maps(alignment, shape)) {
      const first = maps[axis]
      maps[axis] = first ? map.map((place) => first[place]!) : map
    }
  }
  return maps.some((map) => map) ? maps : undefined
}

export const rowMajor = (shape: readonly number[]): number[] =>
  shape.map((_, axis) => shape.slice(axis + 1).reduce((product, size) => product * size, 1))

/** The same where elements are single bytes. */
export function bytewise(
  { view, gather }: Pick<Leaf, 'view' | 'gather'>,
  bytes: number,
): Pick<Leaf, 'view' | 'gather'> {
  const fine = <T extends NonNullable<Leaf['view']>>({ shape, strides, ...rest }: T) => ({
    ...rest,
    shape: [...shape, bytes],
    strides: [...strides.map((stride) => stride * bytes), 1],
  })
  if (gather) return { gather: { ...fine(gather), maps: [...gather.maps, null] } }
  return view ? { view: fine(view) } : {}
}
