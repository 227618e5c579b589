/** Where the order of checkpoints counts, and their names do not make it clear. */
import { naturalOrder } from '../../core/collections/naturalOrder.js'
import { quote } from '../../core/suggest.js'
import type { Report } from '../../language/report.js'
import { childOf, type MapNode, type Node } from '../../language/tree.js'
import type { Group, Groups } from './types.js'

/** Whether some weights of the recipe are a shape, which depends on the order of the models. */
function hasShape(node: Node): boolean {
  if (node.kind === 'scalar') return false
  if (node.kind === 'list') return node.items.some(hasShape)
  const shape = childOf(childOf(node, 'weights') ?? node, 'shape')
  if (shape?.kind === 'scalar' && typeof shape.value === 'string') return true
  return [...node.entries.values()].some(({ value }) => hasShape(value))
}

/** A merge whose weights are a shape takes all models in the order of the recipe if it lists none. */
const isUnlisted = (merge: Node | undefined): boolean =>
  merge?.kind === 'map' && hasShape(merge) && childOf(merge, 'models') === undefined

/** Warning: `unclear-order`. */
export function warnOfOrder(root: MapNode, groups: Groups, report: Report): void {
  if (groups.size === 0 || !['merge', 'steps'].some((key) => hasShape(childOf(root, key) ?? root))) return
  const steps = childOf(root, 'steps')
  const merges = [
    childOf(root, 'merge'),
    ...(steps?.kind === 'map' ? [...steps.entries.values()].map(({ value }) => childOf(value, 'merge')) : []),
  ]
  for (const [name, group] of groups) {
    const why = unclear(name, group, merges.some(isUnlisted))
    if (why) report.warn('unclear-order', why.message, group.at, { hint: why.hint })
  }
}

function unclear(
  name: string,
  { pattern, models }: Group,
  unlisted: boolean,
): { readonly message: string; readonly hint: string } | undefined {
  const list = 'write a narrower pattern, or list the models in merge, oldest first'
  const own = (one: string): string => (one.startsWith(`${name}/`) ? one.slice(name.length + 1) : one)
  const other = models.find((one) => own(one) === one && name !== pattern.text)
  if (other !== undefined && unlisted)
    return {
      message: `${quote(other)} also matches ${quote(pattern.text)}, but merge takes it where it stands in models`,
      hint: `write models: [${name}] in merge for the order of the pattern`,
    }
  const named = models.map(own)
  const shapes = new Map(named.map((one) => [one.replace(/\d+/g, '0'), one]))
  const odd = named.find((one) => !/\d/.test(one))
  if (odd !== undefined && named.length > 1)
    return { message: `${quote(odd)} has no number, so its place in the order comes from its letters`, hint: list }
  if (shapes.size > 1) {
    const [a, b] = [...shapes.values()]
    return {
      message: `the names that match ${quote(pattern.text)} differ in more than numbers, such as ${a} and ${b}, so their order comes from both`,
      hint: list,
    }
  }
  const decimals = [...named].sort((a, b) => compareDecimals(a, b) || naturalOrder(a, b))
  const at = decimals.findIndex((one, index) => one !== named[index])
  if (at < 0) return undefined
  return {
    message: `${named[at]} comes before ${decimals[at]}, because terge reads 1.10 in a name as 1 and 10`,
    hint: list,
  }
}

/** Compares numbers with a dot in names as decimals. */
function compareDecimals(a: string, b: string): number {
  const [one, other] = [a, b].map((name) => (name.match(/\d+(\.\d+)?/g) ?? []).map(Number))
  const at = one!.findIndex((number, index) => number !== other![index])
  return at < 0 ? 0 : one![at]! - (other![at] ?? 0)
}
