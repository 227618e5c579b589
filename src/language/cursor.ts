/** Reading a checked tree: a node with its path. Values of a wrong type read as absent, since that was told already. */
import type { MapNode, Node } from './tree.js'
import type { Path } from './types.js'

export interface Cursor<N extends Node = Node> {
  readonly node: N
  readonly path: Path
}

export function get(at: Cursor | undefined, key: string): Cursor | undefined {
  if (at?.node.kind !== 'map') return undefined
  const entry = at.node.entries.get(key)
  return entry && { node: entry.value, path: [...at.path, key] }
}

export const has = (at: Cursor | undefined, key: string): boolean => get(at, key) !== undefined

/** In order of writing. */
export const entriesOf = (at: Cursor | undefined): [string, Cursor][] =>
  at?.node.kind === 'map'
    ? [...at.node.entries].map(([key, { value }]) => [key, { node: value, path: [...at.path, key] }])
    : []

export const itemsOf = (at: Cursor | undefined): Cursor[] =>
  at?.node.kind === 'list' ? at.node.items.map((node, index) => ({ node, path: [...at.path, index] })) : []

/** A list's items, or the one thing that stands in place of a list. */
export const oneOrMore = (at: Cursor | undefined): Cursor[] =>
  at === undefined ? [] : at.node.kind === 'list' ? itemsOf(at) : [at]

export const isMapping = (at: Cursor | undefined): at is Cursor<MapNode> => at?.node.kind === 'map'

export const textOf = (at: Cursor | undefined): string | undefined =>
  at?.node.kind === 'scalar' && typeof at.node.value === 'string' ? at.node.value : undefined

/** A revision or a digest may look like a number to YAML; what counts is what was written. */
export const wordOf = (at: Cursor | undefined): string | undefined =>
  at?.node.kind === 'scalar' && (typeof at.node.value === 'string' || typeof at.node.value === 'number')
    ? at.node.source
    : undefined

export const numberOf = (at: Cursor | undefined): number | undefined =>
  at?.node.kind === 'scalar' && typeof at.node.value === 'number' && Number.isFinite(at.node.value)
    ? at.node.value
    : undefined

export const booleanOf = (at: Cursor | undefined): boolean | undefined =>
  at?.node.kind === 'scalar' && typeof at.node.value === 'boolean' ? at.node.value : undefined

/** A number, or a list of them that is not empty. */
export function gradientOf(at: Cursor | undefined): readonly number[] | undefined {
  const numbers = oneOrMore(at).map(numberOf)
  return numbers.length > 0 && numbers.every((value) => value !== undefined) ? numbers : undefined
}
