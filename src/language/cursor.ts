/**
 * Reads a checked tree: nodes with their paths. Values of the wrong type read as absent, because that error is
 * already reported.
 */
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

/** In the order of the recipe. */
export const entriesOf = (at: Cursor | undefined): [string, Cursor][] =>
  at?.node.kind === 'map'
    ? [...at.node.entries].map(([key, { value }]) => [key, { node: value, path: [...at.path, key] }])
    : []

export const itemsOf = (at: Cursor | undefined): Cursor[] =>
  at?.node.kind === 'list' ? at.node.items.map((node, index) => ({ node, path: [...at.path, index] })) : []

/** The items of a list, or a single value that is allowed instead of a list. */
export const oneOrMore = (at: Cursor | undefined): Cursor[] =>
  at === undefined ? [] : at.node.kind === 'list' ? itemsOf(at) : [at]

export const isMapping = (at: Cursor | undefined): at is Cursor<MapNode> => at?.node.kind === 'map'

export const textOf = (at: Cursor | undefined): string | undefined =>
  at?.node.kind === 'scalar' && typeof at.node.value === 'string' ? at.node.value : undefined

/** YAML can read a revision or a digest as a number. The text as written is used. */
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

/** A number, or a list of numbers that is not empty. */
export function gradientOf(at: Cursor | undefined): readonly number[] | undefined {
  const numbers = oneOrMore(at).map(numberOf)
  return numbers.length > 0 && numbers.every((value) => value !== undefined) ? numbers : undefined
}
