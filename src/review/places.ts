/** Names of tensors as patterns and ranges of layers. */
import { naturalOrder } from '../core/collections/naturalOrder.js'
import { runsOf } from '../core/collections/runs.js'
import type { Place } from './types.js'

/** A part of a name that is a number. */
const NUMBER = /(?<=^|\.)\d+(?=\.|$)/g

/** The name with `*` for its numbers, and its layer: the first number. */
function split(name: string): { readonly pattern: string; readonly layer: number | undefined } {
  const [first] = name.match(NUMBER) ?? []
  return { pattern: name.replace(NUMBER, '*'), layer: first === undefined ? undefined : Number(first) }
}

export const patternOf = (name: string): string => split(name).pattern
export const layerOf = (name: string): number | undefined => split(name).layer

/** Names by pattern, in natural order. */
export function placesOf(names: Iterable<string>): Place[] {
  const found = new Map<string, { tensors: number; layers: Set<number>; name: string }>()
  for (const name of names) {
    const { pattern, layer } = split(name)
    const entry = found.get(pattern) ?? { tensors: 0, layers: new Set(), name }
    entry.tensors++
    if (layer !== undefined) entry.layers.add(layer)
    found.set(pattern, entry)
  }
  return [...found]
    .sort(([a], [b]) => naturalOrder(a, b))
    .map(([pattern, { tensors, layers, name }]) =>
      tensors === 1 ? { pattern: name, tensors } : { pattern, layers: runsOf(layers), tensors },
    )
}
