/**
 * The values of a recipe with their places in the text, independent of the YAML library. Immutable: the value of an
 * anchor is one node wherever it is used, so an alias bomb takes no memory.
 */
import type { Place } from '../core/diagnostics.js'
import type { Path } from './types.js'

/** A text with values: the recipe file, or one `--set`. */
export interface Origin {
  readonly file: string
  readonly text: string
  /** Offsets of the starts of lines. */
  readonly lines: readonly number[]
}

export interface Span {
  readonly origin: Origin
  /** Offsets in UTF-16 code units. `end` is exclusive. */
  readonly start: number
  readonly end: number
}

interface Common {
  readonly span: Span
  /** Number of nodes, including this one, with aliases expanded. */
  readonly size: number
  readonly depth: number
}
export interface MapNode extends Common {
  readonly kind: 'map'
  /** In the order of the recipe. A plain object would reorder names that look like numbers. */
  readonly entries: ReadonlyMap<string, Entry>
}
export interface ListNode extends Common {
  readonly kind: 'list'
  readonly items: readonly Node[]
}
export interface ScalarNode extends Common {
  readonly kind: 'scalar'
  readonly value: string | number | boolean | null
  /** As written, without quotes: for names and revisions that YAML reads as numbers. */
  readonly source: string
  /** Replaces a value whose error is already reported. */
  readonly broken?: true
}
export type Node = MapNode | ListNode | ScalarNode
export interface Entry {
  readonly key: Span
  readonly value: Node
}

export function makeOrigin(file: string, text: string): Origin {
  const lines = [0]
  for (let at = text.indexOf('\n'); at >= 0; at = text.indexOf('\n', at + 1)) lines.push(at + 1)
  return { file, text, lines }
}

export function makeMap(span: Span, entries: ReadonlyMap<string, Entry>): MapNode {
  let size = 1
  let depth = 0
  for (const { value } of entries.values()) {
    size += value.size
    depth = Math.max(depth, value.depth)
  }
  return { kind: 'map', span, entries, size, depth: depth + 1 }
}

export function makeList(span: Span, items: readonly Node[]): ListNode {
  let size = 1
  let depth = 0
  for (const item of items) {
    size += item.size
    depth = Math.max(depth, item.depth)
  }
  return { kind: 'list', span, items, size, depth: depth + 1 }
}

export const makeBroken = (span: Span): ScalarNode => ({ ...makeScalar(span, null, ''), broken: true })

export const makeScalar = (span: Span, value: ScalarNode['value'], source: string): ScalarNode => ({
  kind: 'scalar',
  span,
  // Never -0: keys and digests are of JSON, which writes it as 0, but some methods give zeros of the other sign for it.
  value: value === 0 ? 0 : value,
  source,
  size: 1,
  depth: 1,
})

let lastLine: { origin: Origin; first: number; text: string } | undefined

/** A line without control characters. The last line is cached, because one line often has many errors. */
function lineText(origin: Origin, first: number, end: number): string {
  if (lastLine?.origin !== origin || lastLine.first !== first) {
    const line = origin.text.slice(first, end).replace(/\r$/, '')
    lastLine = { origin, first, text: line.replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g, '\ufffd') }
  }
  return lastLine.text
}

/** The place of a span. For a span over several lines, its first line. */
export function spanPlace({ origin, start, end }: Span): Place {
  let low = 0
  let high = origin.lines.length - 1
  while (low < high) {
    const middle = (low + high + 1) >> 1
    if ((origin.lines[middle] ?? 0) <= start) low = middle
    else high = middle - 1
  }
  const first = origin.lines[low] ?? 0
  const next = origin.lines[low + 1]
  const text = lineText(origin, first, next === undefined ? origin.text.length : next - 1)
  const column = Math.min(start - first, text.length) + 1
  const length = Math.max(1, Math.min(end, first + text.length) - start)
  return { file: origin.file, line: low + 1, column, length, text }
}

export function childOf(node: Node, key: string | number): Node | undefined {
  if (node.kind === 'map') return node.entries.get(String(key))?.value
  if (node.kind === 'list' && typeof key === 'number') return node.items[key]
  return undefined
}

/** The node with this path. */
export function nodeAt(root: Node, path: Path): Node | undefined {
  let node: Node | undefined = root
  for (const step of path) node = node && childOf(node, step)
  return node
}

/** The span of a node or of its key. For a path that does not exist, the span of the nearest node above it. */
export function spanOf(root: Node, path: Path, part: 'key' | 'value'): Span {
  let node = root
  let key: Span | undefined
  for (const step of path) {
    const next = childOf(node, step)
    // A short form in one word has no parts to show.
    if (next === undefined && node.kind === 'scalar' && node.span.end > node.span.start) return node.span
    if (next === undefined) return key ?? { ...node.span, end: node.span.start + 1 }
    key = node.kind === 'map' ? node.entries.get(String(step))?.key : undefined
    node = next
  }
  if (part === 'key' && key) return key
  // An empty value has no width, so its key is shown.
  return node.span.end > node.span.start ? node.span : (key ?? node.span)
}

/** Plain data for the schema check. Objects have no prototype, so that no name is special. */
export function toPlain(node: Node): unknown {
  if (node.kind === 'scalar') return node.value
  if (node.kind === 'list') return node.items.map(toPlain)
  const object: Record<string, unknown> = Object.create(null)
  for (const [key, { value }] of node.entries) object[key] = toPlain(value)
  return object
}

/** New names of entries, by the JSON pointer of their mapping. Undefined removes the entry. */
export type Renames = ReadonlyMap<string, ReadonlyMap<string, string | undefined>>

/** Renames keys of a tree, in one pass. */
export function renameKeys(node: Node, renames: Renames, pointer = ''): Node {
  if (node.kind === 'scalar') return node
  if (node.kind === 'list') {
    const items = node.items.map((item, index) => renameKeys(item, renames, `${pointer}/${index}`))
    return items.some((item, index) => item !== node.items[index]) ? makeList(node.span, items) : node
  }
  const names = renames.get(pointer)
  const entries = new Map<string, Entry>()
  let changed = names !== undefined
  for (const [key, { key: span, value }] of node.entries) {
    const inner = renameKeys(value, renames, `${pointer}/${key.replaceAll('~', '~0').replaceAll('/', '~1')}`)
    changed ||= inner !== value
    const name = names?.has(key) ? names.get(key) : key
    if (name !== undefined) entries.set(name, { key: span, value: inner })
  }
  return changed ? makeMap(node.span, entries) : node
}

export function replaceChild(node: Node, key: string | number, child: Node, keySpan?: Span): Node {
  if (node.kind === 'map') {
    const entries = new Map(node.entries)
    entries.set(String(key), { key: entries.get(String(key))?.key ?? keySpan ?? child.span, value: child })
    return makeMap(node.span, entries)
  }
  if (node.kind === 'list') {
    const items = node.items.map((item, index) => (index === key ? child : item))
    return makeList(node.span, items)
  }
  throw new Error('internal: a scalar has no children')
}
