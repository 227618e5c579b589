/** Converts a YAML document to a tree with places: resolves aliases, applies merge keys, checks keys. */
import { type Document, isAlias, isMap, isScalar, isSeq, type YAMLMap } from 'yaml'
import type { ErrorCode } from '../core/codes.js'
import { quote } from '../core/suggest.js'
import { pythonValue } from './pythonValue.js'
import { type Entry, makeBroken, makeList, makeMap, makeScalar, type Node, type Span, spanPlace } from './tree.js'

export type Complain = (code: ErrorCode, message: string, span: Span, hint?: string) => void

interface Conversion {
  readonly complain: Complain
  /** Offsets in the document as a span. */
  readonly at: (start: number, end?: number) => Span
  /** Set to read like PyYAML: reports repeated keys. */
  readonly python: Complain | undefined
  /** By anchor. Null while the value of the anchor is being read. */
  readonly anchors: Map<string, Node | null>
}

export function convert(
  document: Document,
  complain: Complain,
  at: Conversion['at'],
  python: Complain | undefined,
): Node | undefined {
  return value({ complain, at, python, anchors: new Map() }, document.contents, at(0))
}

const spanOf = ({ at }: Conversion, range: unknown, fallback: Span): Span =>
  Array.isArray(range) ? at(Number(range[0]), Math.max(Number(range[0]), Number(range[1]))) : fallback

function value(c: Conversion, node: unknown, fallback: Span): Node {
  const { anchors, complain, python } = c
  if (!isScalar(node) && !isMap(node) && !isSeq(node) && !isAlias(node)) return makeScalar(fallback, null, '')
  const span = spanOf(c, node.range, fallback)
  if (isAlias(node)) {
    const target = anchors.get(node.source)
    if (target) return target
    const message = target === null ? 'is inside the value that it refers to' : 'refers to no earlier anchor'
    complain(
      'bad-alias',
      `the alias ${quote(`*${node.source}`)} ${message}`,
      span,
      target === null
        ? 'write the value in full'
        : target === null
          ? 'write the value in full'
          : 'define it first with &NAME, or write the value in full',
    )
    return makeBroken(span)
  }
  if (node.anchor) anchors.set(node.anchor, null)
  const made = isScalar(node)
    ? scalar(c, python && node.type === 'PLAIN' ? pythonValue(node.source ?? '') : node.value, node.source, span)
    : isSeq(node)
      ? makeList(span, node.items.map((item) => value(c, item, span))) // biome-ignore format: one line reads best
      : mapping(c, node, span)
  if (node.anchor) anchors.set(node.anchor, made)
  return made
}

/** Operating systems end a path or an argument at a NUL, and no recipe needs one. */
function hasNul({ complain }: Conversion, text: unknown, span: Span): boolean {
  if (typeof text !== 'string' || !text.includes('\0')) return false
  complain('bad-value', 'a string can’t contain the character U+0000 (NUL)', span, 'remove it')
  return true
}

function scalar(c: Conversion, content: unknown, source: string | undefined, span: Span): Node {
  if (hasNul(c, content, span)) return makeBroken(span)
  if (typeof content === 'string' || typeof content === 'number' || typeof content === 'boolean' || content === null)
    return makeScalar(span, content, source ?? String(content))
  c.complain('bad-type', 'only strings, numbers, true and false are allowed here', span, 'quote it to make it a string')
  return makeBroken(span)
}

function mapping(c: Conversion, node: YAMLMap<unknown, unknown>, span: Span): Node {
  const { python } = c
  const entries = new Map<string, Entry>()
  /** Mappings of merge keys. The first one has priority. */
  const under: Node[] = []
  for (const pair of node.items) {
    const key = keyOf(c, pair.key, span)
    const item = value(c, pair.value, key?.span ?? span)
    if (key === undefined) continue
    if (python && key.name === '<<') {
      under.push(...(item.kind === 'list' ? item.items : [item]))
      continue
    }
    const before = entries.get(key.name)
    if (before) repeatedKey(c, key, before)
    if (!before || python) entries.set(key.name, { key: key.span, value: item })
  }
  for (const lower of under)
    if (lower.kind === 'map')
      for (const [name, entry] of lower.entries) if (!entries.has(name)) entries.set(name, entry)
  return makeMap(span, entries)
}

function keyOf(c: Conversion, key: unknown, fallback: Span): { name: string; span: Span } | undefined {
  const { anchors, complain, python } = c
  const span = spanOf(c, isScalar(key) || isMap(key) || isSeq(key) || isAlias(key) ? key.range : undefined, fallback)
  const target = isAlias(key) ? anchors.get(key.source) : undefined
  const name = isScalar(key) ? key.value : target?.kind === 'scalar' ? target.value : undefined
  if (isScalar(key) && key.anchor && typeof name === 'string') anchors.set(key.anchor, makeScalar(span, name, name))
  if (name === '<<' && !python) {
    const hint = 'write its keys in full; an alias can only replace a whole value'
    complain('merge-key', 'the recipe language does not support the merge key <<', span, hint)
    return undefined
  }
  if (hasNul(c, name, span)) return undefined
  if (typeof name === 'string') return { name, span }
  const source = isScalar(key) ? key.source : undefined
  const hint = source ? `put it in quotes: "${source}"` : undefined
  complain('bad-key', 'keys must be strings', span, hint)
  return source === undefined ? undefined : { name: source, span }
}

/** An error in recipes. PyYAML uses the last value, so there it is a warning. */
function repeatedKey({ complain, python }: Conversion, key: { name: string; span: Span }, before: Entry): void {
  const first = `first on line ${spanPlace(before.key).line}`
  const message = `${quote(key.name)} is written twice in one mapping`
  if (python) python('repeated-key', `${message}; the last one is used`, key.span, first)
  else complain('duplicate-key', message, key.span, first)
}
