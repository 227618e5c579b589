/** Puts tensors with the same changes into groups. */
import type { Json } from '../core/json/shape.js'
import { placesOf } from './places.js'
import type { Change, Range, TensorGroup } from './types.js'

interface Open {
  readonly state: TensorGroup['state']
  readonly names: string[]
  bytes: number
  changes: Change[]
}

export interface Grouping {
  add(state: TensorGroup['state'], name: string, bytes: number, changes: readonly Change[]): void
  /** Those with the most bytes first. */
  list(): TensorGroup[]
}

/** Numbers that differ from tensor to tensor, such as weights along the layers, do not make a group of their own. */
export function grouping(): Grouping {
  const groups = new Map<string, Open>()
  return {
    add(state, name, bytes, changes) {
      const key = JSON.stringify([state, changes.map(kindOf)])
      const group = groups.get(key)
      if (!group) groups.set(key, { state, names: [name], bytes, changes: [...changes] })
      else {
        group.names.push(name)
        group.bytes += bytes
        group.changes = group.changes.map((change, index) => widened(change, changes[index]!))
      }
    },
    list: () =>
      [...groups.values()]
        .map(({ state, names, bytes, changes }) => ({
          ...{ state, tensors: names.length, bytes, changes, places: placesOf(names) },
        }))
        .sort((a, b) => b.bytes - a.bytes),
  }
}

const kindOf = ({ what, of, a, b }: Change): unknown[] => [
  what,
  of,
  typeof a === 'number' ? '' : a,
  typeof b === 'number' ? '' : b,
]

const widened = (change: Change, next: Change): Change => ({
  ...change,
  ...(change.a === undefined ? {} : { a: joined(change.a, next.a) }),
  ...(change.b === undefined ? {} : { b: joined(change.b, next.b) }),
})

function joined(range: Json | Range, value: Json | Range | undefined): Json | Range {
  if (typeof value !== 'number') return range
  const { from, to } = typeof range === 'number' ? { from: range, to: range } : (range as Range)
  if (value >= from && value <= to) return range
  return { from: Math.min(from, value), to: Math.max(to, value) }
}
