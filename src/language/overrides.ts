/**
 * `--set merge.weights.math=0.7`: overrides values of the recipe before it is checked, so that they are checked too.
 */
import type { Diagnostic } from '../core/diagnostics.js'
import { quote } from '../core/suggest.js'
import { parseSource } from './source.js'
import { childOf, makeMap, makeOrigin, type Node, replaceChild, type Span, spanPlace } from './tree.js'
import type { Path } from './types.js'

interface Key {
  readonly name: string
  readonly span: Span
}

/** `a.b`, `a."b.c"`, `a.'b.c'`, `rules.0` or `rules[0]`, up to the `=`. Undefined for anything else. */
function parseKeys(origin: Span['origin']): { keys: Key[]; end: number } | undefined {
  const keys: Key[] = []
  const step = /(?:\.|^)(?:"((?:[^"\\]|\\.)*)"|'((?:[^']|'')*)'|([^.=[\]"']+))|\[(\d+)\]/y
  for (;;) {
    const start = step.lastIndex
    const match = step.exec(origin.text)
    if (!match) return keys.length > 0 && origin.text[start] === '=' ? { keys, end: start + 1 } : undefined
    const [whole, double, single, bare, index] = match
    const name = double?.replace(/\\(.)/g, '$1') ?? single?.replaceAll("''", "'") ?? (bare ?? index ?? '').trim()
    const lead = whole.startsWith('.') ? 1 : 0
    keys.push({ name, span: { origin, start: start + lead, end: step.lastIndex } })
  }
}

/** The keys of a path that has no value. Undefined if it is not a path. */
export function readPath(text: string): string[] | undefined {
  const parsed = parseKeys(makeOrigin('', `${text}=`))
  return parsed?.end === text.length + 1 ? parsed.keys.map(({ name }) => name) : undefined
}

/** The path of these keys in a tree: in a list, a number is an index. Keys that are not there stay names. */
export function pathOf(root: Node, names: readonly string[]): Path {
  const path: (string | number)[] = []
  let node: Node | undefined = root
  for (const name of names) {
    const step: string | number = node?.kind === 'list' && /^\d{1,9}$/.test(name) ? Number(name) : name
    path.push(step)
    node = node && childOf(node, step)
  }
  return path
}

/** The tree with the overrides. Missing keys are added. The schema check judges them later. */
export function applyOverrides(start: Node, overrides: readonly string[]): { root: Node; faults: Diagnostic[] } {
  const faults: Diagnostic[] = []
  let root = start
  for (const text of overrides) {
    const origin = makeOrigin('--set', text)
    const parsed = parseKeys(origin)
    if (!parsed) {
      const message = `${quote(text)} is not KEY=VALUE`
      const hint = 'write --set merge.weights.math=0.7; quote keys that contain dots'
      faults.push(wrongKey(message, { origin, start: 0, end: text.length }, hint))
      continue
    }
    const { root: value, faults: inside, several } = parseSource(origin, parsed.end)
    faults.push(...inside)
    if (several)
      faults.push(
        wrongKey(
          'the value must be one YAML document',
          { origin, start: parsed.end, end: text.length },
          'remove the ---',
        ),
      )
    if (!value || several) continue
    const unquoted = unquotedKey(root, parsed.keys, text.slice(parsed.end))
    if (unquoted) {
      faults.push(unquoted)
      continue
    }
    const found = put(root, parsed.keys, value)
    if ('root' in found) root = found.root
    else faults.push(found.fault)
  }
  return { root, faults }
}

/**
 * Names of models and steps that contain dots, and existing keys: without quotes, the dots in such a name would
 * separate keys.
 */
function unquotedKey(root: Node, keys: readonly Key[], value: string): Diagnostic | undefined {
  const names = ['models', 'steps'].flatMap((key) => {
    const found = childOf(root, key)
    return found?.kind === 'map' ? [...found.entries.keys()] : []
  })
  let node: Node | undefined = root
  for (const [at, key] of keys.entries()) {
    const there: string[] = node?.kind === 'map' ? [...node.entries.keys()] : []
    if (!there.includes(key.name))
      for (let end = keys.length; end > at + 1; end--) {
        const whole = keys
          .slice(at, end)
          .map(({ name }) => name)
          .join('.')
        if (!there.includes(whole) && !names.includes(whole)) continue
        const quoted = [
          ...keys.slice(0, at).map(({ name }) => name),
          JSON.stringify(whole),
          ...keys.slice(end).map(({ name }) => name),
        ]
        const span = { ...key.span, end: keys[end - 1]!.span.end }
        const hint = `quote the name: --set '${quoted.join('.')}=${value}'`
        return wrongKey(`${quote(whole)} is one name, but its dots separate keys here`, span, hint)
      }
    node =
      node?.kind === 'map' ? childOf(node, key.name) : node?.kind === 'list' ? node.items[Number(key.name)] : undefined
  }
  return undefined
}

const wrongKey = (message: string, span: Span, hint?: string): Diagnostic => ({
  severity: 'error',
  code: 'bad-override',
  message,
  place: spanPlace(span),
  ...(hint === undefined ? {} : { hint }),
})

function put(node: Node, [key, ...rest]: readonly Key[], value: Node): { root: Node } | { fault: Diagnostic } {
  if (key === undefined) return { root: value }
  if (node.kind === 'scalar' && node.value !== null) {
    const message = `this value is not a mapping, so it has no key ${quote(key.name)}`
    return { fault: wrongKey(message, key.span, 'set the whole mapping: --set output={path: …, dtype: …}') }
  }
  if (node.kind === 'list') {
    const index = /^\d{1,9}$/.test(key.name) ? Number(key.name) : -1
    const child = node.items[index]
    if (!child) {
      const count = node.items.length
      const hint = count === 0 ? 'the list is empty: set the whole list' : `write an index from 0 to ${count - 1}`
      return { fault: wrongKey(`the list has no entry ${quote(key.name)}`, key.span, hint) }
    }
    const found = put(child, rest, value)
    return 'root' in found ? { root: replaceChild(node, index, found.root) } : found
  }
  // A key without a value (`merge:`) counts as an empty mapping.
  const map = node.kind === 'map' ? node : makeMap(node.span, new Map())
  const child = childOf(map, key.name) ?? makeMap(key.span, new Map())
  const found = put(child, rest, value)
  return 'root' in found ? { root: replaceChild(map, key.name, found.root, key.span) } : found
}
