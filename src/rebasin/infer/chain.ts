/**
 * Chains: each layer takes the last one's output (multilayer perceptrons, VGG), norms in between, convolutions before linear
 * layers, the channels flattened where they meet. The order is that of the names, numbers as numbers, as far as the shapes
 * agree; otherwise the only order that the shapes allow.
 */
import { fault } from '../../core/diagnostics.js'
import type { Builder } from './builder.js'
import { leaf, type Module, modulesOf, NORM_REASON, parentOf } from './modules.js'

const FIRST = /^(input|in|in_proj|stem|first)([_.\d]|$)/
const BODY = /^(features?|conv|backbone|encoder|body|trunk)/
const LAST = /^(classifier|head|output|out|final|last|logits|fc_out|score)([_.\d]|$)/
const TRANSPOSED = /(deconv|transpose|convt|upconv|tconv)/i

/** How a layer takes the output before it. */
type Link =
  | { kind: 'plain' }
  | { kind: 'flatten'; times: number }
  | { kind: 'depthwise' }
  | { kind: 'transposed' }
  | { kind: 'grouped' }

function link(before: Module, size: number, layer: Module): Link | undefined {
  const [rows, columns] = layer.shape as [number, number]
  const convolution = layer.shape.length > 2
  if (convolution && before.shape.length === 2) return undefined
  if (convolution && TRANSPOSED.test(layer.name)) return rows === size ? { kind: 'transposed' } : undefined
  if (columns === size) return { kind: 'plain' }
  if (convolution) {
    if (columns === 1 && rows === size) return { kind: 'depthwise' }
    if (columns < size && size % columns === 0 && rows % (size / columns) === 0) return { kind: 'grouped' }
    return rows === size ? { kind: 'transposed' } : undefined
  }
  return before.shape.length > 2 && columns % size === 0 ? { kind: 'flatten', times: columns / size } : undefined
}

const outputOf = (layer: Module, how: Link | undefined): number =>
  how?.kind === 'transposed' ? layer.shape[1]! : layer.shape[0]!

function fits(order: readonly Module[]): Link[] | undefined {
  const links: Link[] = []
  let size = order[0] ? outputOf(order[0], undefined) : 0
  for (let k = 1; k < order.length; k++) {
    const how = link(order[k - 1]!, size, order[k]!)
    if (!how) return undefined
    links.push(how)
    size = outputOf(order[k]!, how)
  }
  return links
}

/** Steps of the search for an order by shapes: beyond it, a spec must be written. */
const SEARCH = 20000

function orderOf(layers: readonly Module[]): { order: Module[]; links: Link[] } {
  const rank = ({ name, shape }: Module) =>
    (shape.length > 2 ? 0 : 10) + (FIRST.test(name) ? 0 : BODY.test(name) ? 1 : LAST.test(name) ? 3 : 2)
  const named = layers
    .map((layer, index) => ({ layer, index }))
    .sort((a, b) => rank(a.layer) - rank(b.layer) || a.index - b.index)
  const order = named.map(({ layer }) => layer)
  const links = fits(order)
  if (links) return { order, links }
  const found: Module[][] = []
  let steps = 0
  const extend = (path: readonly Module[], left: readonly Module[]) => {
    if (found.length > 1 || ++steps > SEARCH) return
    if (left.length === 0) found.push([...path])
    for (const layer of left)
      if (path.length === 0 || fits([...path, layer]))
        extend(
          [...path, layer],
          left.filter((other) => other !== layer),
        )
  }
  extend([], order)
  if (found.length !== 1 || steps > SEARCH)
    throw fault(
      'spec-unknown',
      found.length === 0
        ? 'no permutation spec can be inferred: the layers form no chain and no known family'
        : 'no permutation spec can be inferred: the order of the layers is not clear from names and shapes',
      'write the spec in the recipe or in a file, or name the family',
    )
  return { order: found[0]!, links: fits(found[0]!)! }
}

/** The layer that a norm follows: its neighbour in a numbered sequence, or the layer with the same number in its name. */
function layerOf(
  norm: Module,
  order: readonly Module[],
  modules: readonly Module[],
  outputs: ReadonlyMap<Module, number>,
): Module | undefined {
  const fitting = order.filter((layer) => outputs.get(layer) === norm.shape[0])
  const siblings = fitting.filter((layer) => parentOf(layer.name) === parentOf(norm.name))
  if (/^\d+$/.test(leaf(norm.name))) {
    const at = modules.indexOf(norm)
    const before = modules
      .slice(0, at)
      .filter((module) => module.kind === 'layer' && parentOf(module.name) === parentOf(norm.name))
      .at(-1)
    if (before) return fitting.includes(before) ? before : undefined
  }
  const number = /\d+(?=\D*$)/.exec(leaf(norm.name))?.[0]
  const same = siblings.filter((layer) => /\d+(?=\D*$)/.exec(leaf(layer.name))?.[0] === number)
  if (same.length > 0) return same.length === 1 ? same[0] : same.find((layer) => layer.shape.length > 2)
  if (siblings.length === 1) return siblings[0]
  return fitting.length === 1 ? fitting[0] : undefined
}

export function describeChain(builder: Builder): void {
  const { modules, rest } = modulesOf(builder.shapes)
  const layers = modules.filter(({ kind }) => kind === 'layer')
  if (layers.length < 2)
    throw fault(
      'spec-unknown',
      'no permutation spec can be inferred: the model has fewer than two layers',
      'write the spec in the recipe or in a file',
    )
  const { order, links } = orderOf(layers)
  const outputs = new Map<Module, number>()
  const groupOf = new Map<Module, string>()
  let group: string | undefined
  for (const [k, layer] of order.entries()) {
    const how = links[k - 1]
    const size = outputOf(layer, how)
    const last = k === order.length - 1
    const into: string | undefined = group
    outputs.set(layer, size)
    const out: string = how?.kind === 'depthwise' ? into! : layer.name
    const named = last && how?.kind !== 'depthwise' ? null : out
    if (named !== null) builder.group(out, size)
    const weight = `${layer.name}.weight`
    if (how?.kind === 'depthwise') {
      builder.tensor(weight, [out])
      if (last) builder.keep(out, `${layer.name} is the last layer: its outputs keep their places`)
    } else if (how?.kind === 'transposed') builder.tensor(weight, [into!, named])
    else if (how?.kind === 'grouped') {
      builder.tensor(weight, [named])
      for (const name of [into!, ...(named === null ? [] : [named])])
        builder.keep(name, `${layer.name} is a grouped convolution`)
    } else
      builder.tensor(weight, [
        named,
        into === undefined ? null : how?.kind === 'flatten' && how.times > 1 ? `${into}*${how.times}` : into,
      ])
    builder.tensor(`${layer.name}.bias`, [named])
    if (named !== null) groupOf.set(layer, out)
    group = out
  }
  const keepAll = (reason: string) => {
    for (const name of groupOf.values()) builder.keep(name, reason)
  }
  for (const norm of modules.filter(({ kind }) => kind === 'norm')) {
    if (norm.shape[0] === 1) continue
    const layer = layerOf(norm, order, modules, outputs)
    const name = layer && groupOf.get(layer)
    if (!layer) {
      // A norm of the input stands before every layer; any other would need to be known.
      const first = order[0]!
      if (norm.shape[0] !== first.shape[1] || [...outputs.values()].includes(norm.shape[0]!))
        keepAll(`it is not clear which layer ${norm.name} follows`)
      continue
    }
    if (name === undefined) continue
    for (const tensor of norm.tensors)
      if (builder.shapes.get(tensor)!.shape.length === 1) builder.tensor(tensor, [name])
    if (!norm.statistics && layer.shape.length > 2) builder.keep(name, NORM_REASON)
  }
  for (const name of rest)
    if (builder.shapes.get(name)!.shape.some((n) => n > 1))
      keepAll(`tensor ${name} has no place in a chain that is known`)
}
