/** Prints a recipe as YAML for people: short values on one line, comments above the nodes that they explain. */
import path from 'node:path'
import { addressIn, withSlashes } from '../../core/names/fileNames.js'
import { printable, safeJson } from '../../core/printable.js'
import { childOf, type Entry, type MapNode, makeMap, makeScalar, type Node } from '../../language/tree.js'
import type { Comments } from './nodes.js'

const WIDTH = 100
/** Strings that need no quotes, also inside flow collections. */
const PLAIN = /^(?!\.\d)[A-Za-z./_]([\w./@:+-]*[\w./@+-])?$/
const RESERVED = /^(true|false|null|yes|no|on|off|y|n|~|\.inf|\.nan)$/i

/** `title`: a comment at the top. */
export function printRecipe(root: MapNode, comments: Comments, title: string): string {
  const lines = title.split('\n').map((line) => `# ${printable(line)}`)
  for (const [key, { value }] of root.entries) lines.push(...entry(key, value, '', comments))
  return `${lines.join('\n')}\n`
}

function word(value: string | number | boolean | null): string {
  if (typeof value !== 'string') return String(value)
  return PLAIN.test(value) && !RESERVED.test(value) ? value : safeJson(JSON.stringify(value))
}

function flow(node: Node): string {
  if (node.kind === 'scalar') return word(node.value)
  if (node.kind === 'list') return `[${node.items.map(flow).join(', ')}]`
  return `{${[...node.entries].map(([key, { value }]) => `${word(key)}: ${flow(value)}`).join(', ')}}`
}

const commented = (node: Node, comments: Comments): boolean =>
  comments.has(node) ||
  (node.kind === 'list' && node.items.some((item) => commented(item, comments))) ||
  (node.kind === 'map' && [...node.entries.values()].some(({ value }) => commented(value, comments)))

/** Whether a value is nested too deeply to read well on one line. */
const nested = (node: Node): boolean => node.kind === 'map' && node.depth > 3

function entry(key: string, node: Node, indent: string, comments: Comments): string[] {
  const comment = comments.get(node)
  const lines = comment === undefined ? [] : [`${indent}# ${printable(comment)}`]
  const short = `${indent}${word(key)}: ${flow(node)}`
  const inner =
    node.kind === 'scalar'
      ? []
      : node.kind === 'list'
        ? node.items
        : [...node.entries.values()].map(({ value }) => value)
  const block =
    inner.length > 0 &&
    ((BLOCKS.includes(key) && inner.some((one) => one.kind !== 'scalar' || node.kind === 'map')) ||
      nested(node) ||
      short.length > WIDTH ||
      inner.some((one) => commented(one, comments)))
  if (!block) return [...lines, short]
  lines.push(`${indent}${word(key)}:`)
  if (node.kind === 'map')
    for (const [name, { value }] of node.entries) lines.push(...entry(name, value, `${indent}  `, comments))
  if (node.kind === 'list') for (const item of node.items) lines.push(...bullet(item, `${indent}  `, comments))
  return lines
}

/** Mappings that are always printed as blocks. */
const BLOCKS = ['models', 'merge', 'steps', 'rules', 'stack']

function bullet(item: Node, indent: string, comments: Comments): string[] {
  const short = `${indent}- ${flow(item)}`
  if (item.kind !== 'map' || (short.length <= WIDTH && !nested(item) && !commented(item, comments))) return [short]
  const lines = [...item.entries].flatMap(([key, { value }]) => entry(key, value, `${indent}  `, comments))
  const at = lines.findIndex((line) => !line.trimStart().startsWith('#'))
  return lines.map((line, i) => (i === at ? `${indent}- ${line.slice(indent.length + 2)}` : line))
}

/** Rewrites the relative paths of a recipe for another folder. */
export function relocate(root: MapNode, from: string, to: string): MapNode {
  if (from === to) return root
  const move = (reference: string): string => {
    if (addressIn(reference) !== undefined || path.isAbsolute(reference)) return reference
    const moved = withSlashes(path.relative(to, path.resolve(from, reference)))
    return moved === '' ? '.' : moved
  }
  const models = childOf(root, 'models')
  if (models?.kind !== 'map') return root
  const entries = [...models.entries].map(([name, { key, value }]): [string, Entry] => {
    if (value.kind === 'scalar') return [name, { key, value: makeScalar(value.span, move(value.source), '') }]
    if (value.kind !== 'map') return [name, { key, value }]
    const inner = [...value.entries].map(([part, one]): [string, Entry] => {
      const local = (part === 'path' || part === 'lora') && one.value.kind === 'scalar'
      return [
        part,
        local ? { ...one, value: makeScalar(one.value.span, move((one.value as { source: string }).source), '') } : one,
      ]
    })
    return [name, { key, value: makeMap(value.span, new Map(inner)) }]
  })
  const moved = makeMap(models.span, new Map(entries))
  return makeMap(
    root.span,
    new Map(
      [...root.entries].map(([key, one]): [string, Entry] => [key, key === 'models' ? { ...one, value: moved } : one]),
    ),
  )
}
