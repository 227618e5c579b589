/** Builds the tree of the recipe. Each node keeps its place in the user's file. */
import { type Entry, type MapNode, makeList, makeMap, makeScalar, type Node, type Span } from '../../language/tree.js'

/** Comments on nodes, printed above them. */
export type Comments = Map<Node, string>

export const text = (value: string | number | boolean, at: Span): Node => makeScalar(at, value, String(value))

export const list = (items: readonly Node[], at: Span): Node => makeList(at, items)

/** Entries without a node are skipped. */
export function mapping(entries: readonly (readonly [string, Node | undefined])[], at: Span): MapNode {
  const kept = entries.filter((entry): entry is readonly [string, Node] => entry[1] !== undefined)
  return makeMap(at, new Map(kept.map(([key, value]): [string, Entry] => [key, { key: value.span, value }])))
}
