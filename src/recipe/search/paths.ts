/** Paths of values in recipes, as `--set` and `search` write them. */
import { didYouMean } from '../../core/suggest.js'
import type { Cursor } from '../../language/cursor.js'
import { entriesOf, itemsOf } from '../../language/cursor.js'
import { pathOf, readPath } from '../../language/overrides.js'
import type { Report } from '../../language/report.js'
import { type Node, nodeAt, type ScalarNode } from '../../language/tree.js'
import type { Path } from '../../language/types.js'

/** `merge.weights."a.b"`, `merge.parameters.t[0]`. */
function pathText(path: Path): string {
  const part = (key: string | number): string =>
    typeof key === 'number' ? `[${key}]` : /^[^.=[\]"']+$/.test(key) && key.trim() === key ? key : JSON.stringify(key)
  return path.map(part).reduce((text, one) => (text === '' || one.startsWith('[') ? text + one : `${text}.${one}`), '')
}

/** The most paths that are compared with one that does not exist. */
const MOST_COMPARED = 2000

/** Paths of all single values below a node. */
function* leavesBelow(at: Cursor): Generator<Cursor<ScalarNode>> {
  if (at.node.kind === 'scalar') yield { node: at.node, path: at.path }
  for (const [, child] of entriesOf(at)) yield* leavesBelow(child)
  for (const child of itemsOf(at)) yield* leavesBelow(child)
}

/** What a search cannot vary, by the first key of a path, and why. */
const FIXED: Readonly<Record<string, string>> = {
  terge: 'the version of the recipe language',
  search: 'a part of the search itself',
  evaluate: 'the command that judges the checkpoints',
}

/** The keys of a parameter's path, and its value in the recipe. Undefined after an error. */
export function findValue(
  root: Node,
  key: string,
  at: Path,
  report: Report,
): { readonly to: Path; readonly node: ScalarNode } | undefined {
  const names = readPath(key)
  const refuse = (code: 'bad-value' | 'unknown-key', message: string, hint: string): undefined => {
    report.error(code, message, at, { part: 'key', hint })
    return undefined
  }
  if (!names) return refuse('bad-value', `'${key}' is not a path`, 'write a path such as merge.weights.math')
  const to = pathOf(root, names)
  const node = nodeAt(root, to)
  const [first] = names
  const fixed = first === undefined ? undefined : Object.hasOwn(FIXED, first) ? FIXED[first] : undefined
  if (fixed !== undefined) return refuse('bad-value', `'${key}' is ${fixed}`, 'remove it from the search')
  if (/^outputs?(\.\d+|\[\d+\])?(\.path)?$/.test(pathText(to)))
    return refuse('bad-value', `'${key}' is where the result is written`, 'remove it from the search')
  if (!node) {
    const leaves: string[] = []
    for (const leaf of leavesBelow({ node: root, path: [] })) {
      if (leaf.path[0] === 'search') continue
      if (leaves.push(pathText(leaf.path)) === MOST_COMPARED) break
    }
    const near = didYouMean(key, leaves)
    const hint = near?.startsWith('did') ? near : 'write its normal value there: terge run uses it'
    return refuse('unknown-key', `the recipe has no value at '${key}'`, hint)
  }
  if (node.kind !== 'scalar') {
    const [inner] = leavesBelow({ node, path: to })
    const kind = node.kind === 'list' ? 'a list' : 'a mapping'
    const hint = inner ? `write the path of one value, such as ${pathText(inner.path)}` : 'write the path of one value'
    return refuse('bad-value', `'${key}' is ${kind}, not one value`, hint)
  }
  const shared = [...leavesBelow({ node: root, path: [] })].filter((leaf) => leaf.node.span === node.span)
  if (shared.length > 1)
    return refuse('bad-value', `'${key}' is an alias, so several values would change`, 'write the value in full')
  return { to, node }
}
