/**
 * Stacks of layers, from the names of tensors. The prefix of a stack is the name up to the first part that is an
 * integer: `model.layers` in `model.layers.12.mlp.up_proj.weight`. Each stack is counted separately: a model with a
 * language model and a vision tower has two.
 */

export interface Site {
  /** The name before the number. Empty if the name starts with the number. */
  readonly prefix: string
  readonly layer: number
  /** The name after the number. Empty if the name ends with the number. */
  readonly rest: string
}

/** Splits at the first integer part, or at the one after `prefix`. Undefined if there is none. */
export function siteOf(name: string, prefix?: string): Site | undefined {
  if (prefix !== undefined) {
    const inside = prefix === '' ? name : name.startsWith(`${prefix}.`) ? name.slice(prefix.length + 1) : undefined
    const match = inside === undefined ? undefined : /^(\d+)(?:\.|$)/.exec(inside)
    return match ? { prefix, layer: Number(match[1]), rest: inside!.slice(match[0].length) } : undefined
  }
  const match = /(?:^|\.)(\d+)(?:\.|$)/.exec(name)
  if (!match) return undefined
  return {
    prefix: name.slice(0, match.index),
    layer: Number(match[1]),
    rest: name.slice(match.index + match[0].length),
  }
}

/** Joins the parts of a tensor's name. */
export const nameAt = (prefix: string, layer: number | string, rest: string): string =>
  [prefix, String(layer), rest].filter((part) => part !== '').join('.')

/** The name with another word instead of its first number. Unchanged without a number. */
export function withLayer(name: string, layer: number | string): string {
  const site = siteOf(name)
  return site ? nameAt(site.prefix, layer, site.rest) : name
}

export interface Stack {
  readonly prefix: string
  /** One more than the highest number in its names. */
  readonly depth: number
}

export interface Stacks {
  /** In the order of their prefixes. */
  readonly list: readonly Stack[]
  /** The stack and the layer of a tensor. Undefined outside stacks. */
  readonly of: (name: string) => { readonly stack: Stack; readonly layer: number } | undefined
}

/**
 * The stacks of a model. If some list has items that are modules with several parts, such as transformer blocks, then
 * lists of single parameters (`projector.mlp.0.weight`, `lm_heads.2.weight`) are not stacks.
 */
export function stacksOf(names: Iterable<string>): Stacks {
  const depths = new Map<string, number>()
  const blocks = new Set<string>()
  for (const name of names) {
    const site = siteOf(name)
    if (!site) continue
    depths.set(site.prefix, Math.max(depths.get(site.prefix) ?? 0, site.layer + 1))
    if (site.rest.includes('.')) blocks.add(site.prefix)
  }
  const list = [...depths]
    .filter(([prefix]) => blocks.size === 0 || blocks.has(prefix))
    .map(([prefix, depth]): Stack => ({ prefix, depth }))
    .sort((a, b) => (a.prefix < b.prefix ? -1 : 1))
  const byPrefix = new Map(list.map((stack) => [stack.prefix, stack]))
  const of = (name: string): { stack: Stack; layer: number } | undefined => {
    const site = siteOf(name)
    const stack = site && byPrefix.get(site.prefix)
    return stack && { stack, layer: site.layer }
  }
  return { list, of }
}

/**
 * Any list by its prefix, including lists inside layers of another one (`down_blocks.1.resnets`). Undefined if there
 * is none.
 */
export function stackAt(names: Iterable<string>, prefix: string): Stack | undefined {
  let depth = 0
  for (const name of names) depth = Math.max(depth, (siteOf(name, prefix)?.layer ?? -1) + 1)
  return depth === 0 ? undefined : { prefix, depth }
}
