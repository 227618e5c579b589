/**
 * Chains: each layer takes the last one's output. Norms stand in between, convolutions before linear layers, the channels
 * flattened where they meet. The order is that of the names, numbers as numbers, as far as names tell it and the shapes
 * agree; otherwise the only order that the shapes allow.
 */
import type { Module } from './modules.js'

const FIRST = /^(input|in|in_proj|stem|first|embed\w*|patch_embed)([_.\d]|$)/i
const BODY = /^(features?|conv\w*|backbone|enc\w*|body|trunk)([_.\d]|$)/i
const LAST = /^(classifier|head|output|out|final|last|logits|fc_out|score|pred\w*)([_.\d]|$)/i
const TRANSPOSED = /(deconv|transpose|convt|upconv|tconv)/i

/** How a layer takes the output before it. */
export type Link =
  | { readonly kind: 'plain' }
  | { readonly kind: 'flatten'; readonly times: number }
  | { readonly kind: 'depthwise' }
  | { readonly kind: 'transposed' }
  | { readonly kind: 'grouped' }

/** One layer, or a block of several whose first takes the input and whose last gives the output. */
export interface Item {
  /** Without what all names of the network begin with. */
  readonly name: string
  readonly first: Module
  readonly last: Module
  /** Channels of the output. */
  readonly size: number
  /** Of a network's first layer: a transposed convolution, as the sizes after it tell. */
  readonly transposed?: boolean
}

export const isTransposed = ({ name, shape }: Module): boolean => shape.length > 2 && TRANSPOSED.test(name)

/** How `layer` takes `size` channels; `flat`: they are units of a linear layer. Nothing where it can't. */
export function linkOf(layer: Module, size: number, flat: boolean): Link | undefined {
  const [rows, columns] = layer.shape as [number, number]
  const convolution = layer.shape.length > 2
  if (convolution && flat) return undefined
  if (isTransposed(layer)) return rows === size ? { kind: 'transposed' } : undefined
  if (columns === size) return { kind: 'plain' }
  if (convolution) {
    if (columns === 1 && rows === size) return { kind: 'depthwise' }
    if (columns < size && size % columns === 0 && rows % (size / columns) === 0) return { kind: 'grouped' }
    return rows === size ? { kind: 'transposed' } : undefined
  }
  return !flat && columns % size === 0 ? { kind: 'flatten', times: columns / size } : undefined
}

export const outputOf = (layer: Module, how: Link | undefined): number =>
  how?.kind === 'transposed' || (how === undefined && isTransposed(layer)) ? layer.shape[1]! : layer.shape[0]!

/** Links of each item but the first to the one before; the first that does not fit ends them. */
export function linksOf(order: readonly Item[]): Link[] {
  const links: Link[] = []
  let size = order[0]?.size ?? 0
  for (let k = 1; k < order.length; k++) {
    const how = linkOf(order[k]!.first, size, order[k - 1]!.last.shape.length === 2)
    if (!how) break
    links.push(how)
    size = order[k]!.first === order[k]!.last ? outputOf(order[k]!.first, how) : order[k]!.size
  }
  return links
}

const fits = (order: readonly Item[]): boolean => linksOf(order).length === Math.max(0, order.length - 1)

/** Links that no order of other layers has by chance. */
const PLAIN: ReadonlySet<string> = new Set(['plain', 'flatten', 'depthwise'])

/** Steps of the search for an order by shapes: beyond it, a spec must be written. */
const SEARCH = 20000

/** Names that differ in their numbers alone are in order; so are those of kinds that come first, or last, in every network. */
const kindOf = (name: string): string => name.replace(/[_.]?\d+/g, '')

/** The order of a chain, or why there is none: that of the names where it fits, else the only one that the shapes allow. */
export function orderOf<T extends Item>(items: readonly T[]): { readonly order: T[] } | { readonly problem: string } {
  const rank = ({ name, first }: Item) =>
    (first.shape.length > 2 ? 0 : 10) + (FIRST.test(name) ? 0 : BODY.test(name) ? 1 : LAST.test(name) ? 3 : 2)
  const order = items
    .map((item, index) => ({ item, index }))
    .sort((a, b) => rank(a.item) - rank(b.item) || a.index - b.index)
    .map(({ item }) => item)
  const unclear = { problem: 'the order of the layers is not clear from names and shapes' }
  if (fits(order)) {
    // Items that only the alphabet puts in order might stand in another, if shapes allow one: an encoder named after its decoder.
    const runs: T[][] = []
    for (const item of order) {
      const last = runs.at(-1)?.at(-1)
      if (last && kindOf(last.name) === kindOf(item.name)) runs.at(-1)!.push(item)
      else runs.push([item])
    }
    return others(runs, order, rank) ? unclear : { order }
  }
  const [head, ...tail] = order
  if (head && head.first === head.last && head.first.shape.length > 2) {
    const widening = [{ ...head, size: head.first.shape[1]!, transposed: true }, ...tail]
    if (fits(widening)) return { order: widening }
  }
  // Sizes alone say little: names still tell ends and numbers, and no coincidence of divisors counts.
  const found: T[][] = []
  let steps = 0
  const early = (item: T, left: readonly T[]) =>
    left.every((other) => {
      if (other === item) return true
      if (kindOf(other.name) === kindOf(item.name)) return order.indexOf(item) < order.indexOf(other)
      return !(LAST.test(item.name) && !LAST.test(other.name)) && !(FIRST.test(other.name) && !FIRST.test(item.name))
    })
  const plain = (path: readonly T[]) =>
    fits(path) && linksOf(path).every(({ kind }, k) => PLAIN.has(kind) || isTransposed(path[k + 1]!.first))
  const extend = (path: readonly T[], left: readonly T[]) => {
    if (found.length > 1 || ++steps > SEARCH) return
    if (left.length === 0) found.push([...path])
    for (const item of left)
      if (early(item, left) && plain([...path, item]))
        extend(
          [...path, item],
          left.filter((other) => other !== item),
        )
  }
  extend([], order)
  if (found.length === 1 && steps <= SEARCH) return { order: found[0]! }
  return found.length === 0 ? { problem: 'the layers are neither a chain nor a known family' } : unclear
}

const MOST_ORDERS = 720
/** More kinds of names than any chain has. */
const MOST_RUNS = 64

/** Whether runs of one rank fit in another order too, without links of kinds that the order as named can do without. */
function others<T extends Item>(runs: readonly T[][], order: readonly T[], rank: (item: T) => number): boolean {
  if (runs.length > MOST_RUNS) return true
  let tried = 0
  const kinds = new Set<string>([...PLAIN, ...linksOf(order).map(({ kind }) => kind)])
  const fit = (path: readonly T[]) => fits(path) && linksOf(path).every(({ kind }) => kinds.has(kind))
  const extend = (path: readonly T[], left: readonly T[][]): boolean => {
    if (++tried > MOST_ORDERS) return false
    if (left.length === 0) return path.some((item, i) => item !== order[i])
    const least = Math.min(...left.map((run) => rank(run[0]!)))
    return left.some(
      (run) =>
        rank(run[0]!) === least &&
        fit([...path, ...run]) &&
        extend(
          [...path, ...run],
          left.filter((other) => other !== run),
        ),
    )
  }
  return extend([], runs)
}
