/**
 * Networks of convolutions and linear layers: multilayer perceptrons, VGG, residual networks with norms after (arXiv 1512.03385) or
 * before their convolutions (1603.05027), inverted residuals (1801.04381). A block keeps its output in its input's group unless a
 * projection stands on its shortcut, which is right whether or not it has a shortcut at all.
 */

import { fault } from '../../core/diagnostics.js'
import { plural } from '../../core/words.js'
import { groupName } from '../spec.js'
import { type Block, type Part, partition } from './blocks.js'
import type { Builder } from './builder.js'
import { isTransposed, type Link, linkOf, linksOf, orderOf, outputOf } from './chain.js'
import { type Module, modulesOf } from './modules.js'
import { describeNorms } from './norms.js'
import { besideOthers, doubtOf, isEmbedding, mayBeTable } from './plain.js'
import type { Network, Place, Stream } from './streams.js'

/** Whether a network has blocks, which may have shortcuts. */
export const hasBlocks = (builder: Builder): boolean =>
  partition(modulesOf(builder.shapes).modules).items.some(({ block }) => block !== undefined)

/** What a description of a network rests on. */
export interface Described {
  /** Names of the layers. */
  readonly layers: readonly string[]
  /** Groups between layers and blocks, which other parts of a model may read. */
  readonly streams: ReadonlySet<string>
}

/** `chain`: whoever asks for the spec says that nothing goes around any layer. */
export function describeNetwork(builder: Builder, chain: boolean): Described {
  const { modules, rest } = modulesOf(builder.shapes)
  const layers = modules.filter(({ kind }) => kind === 'layer')
  const hint = 'write the spec in the recipe or in a file, or use an ONNX export: spec: model.onnx'
  if (layers.length < 2)
    throw fault('spec-unknown', 'no permutation spec can be inferred: the model has fewer than two layers', hint)
  const other = chain ? besideOthers(layers) : undefined
  if (other) throw fault('spec-unknown', `the model is not a plain sequence of layers: ${other.why}`, hint)
  const found = partition(modules)
  const items = chain ? layers.map(single) : found.items
  const blockOf = chain ? () => undefined : found.blockOf
  const ordered = orderOf(items)
  if ('problem' in ordered && !items.some(({ block }) => block))
    throw fault('spec-unknown', `no permutation spec can be inferred: ${ordered.problem}`, hint)
  const order = 'order' in ordered ? ordered.order : items
  const network = describeOrder(builder, order, 'problem' in ordered ? ordered.problem : undefined)
  const [{ first }, ...later] = order as [Part, ...Part[]]
  const table = chain ? later.find((part) => isEmbedding(part.first)) : undefined
  if (table)
    throw fault(
      'spec-unknown',
      `the model is not a plain sequence of layers: ${table.name} is named like an embedding, and is not the first layer`,
      hint,
    )
  if (chain && mayBeTable(first, layers))
    builder.keep(groupName(first.name), `${first.name} is square and has no bias: it may be an embedding`)
  describeNorms(builder, modules, network, blockOf)
  for (const name of rest)
    if (builder.shapes.get(name)!.shape.some((n) => n > 1)) {
      builder.keep(name, 'terge does not know where it belongs in the network')
      network.keepAll(`tensor ${name} has no place in a network that is known`)
    }
  return { layers: layers.map(({ name }) => name), streams: network.streams }
}

/** The units of an embedding are its columns, as those of a transposed layer. */
const single = (layer: Module): Part => ({
  name: layer.name,
  path: [layer],
  first: layer,
  last: layer,
  ...(isEmbedding(layer) ? { size: layer.shape[1]!, transposed: true } : { size: layer.shape[0]! }),
})

/** A network while its parts are described, in order. */
interface Description {
  readonly builder: Builder
  readonly places: Map<string, Place>
  /** All groups of the network. */
  readonly groups: Set<string>
  /** Groups between parts. */
  readonly streams: Set<string>
  /** The network has transposed convolutions, so that a square one may be another. */
  readonly transposable: boolean
}

/** A part's position: what comes in, and whether it is the network's first or last. */
interface Position {
  readonly stream: Stream
  readonly isFirst: boolean
  readonly isLast: boolean
  /** The layer before it. */
  readonly before: Module | undefined
  /** Channels of the network's input. */
  readonly input: number
}

/** `problem`: why the order is not sure. */
function describeOrder(builder: Builder, order: readonly Part[], problem: string | undefined): Network {
  const links = linksOf(order)
  const transposable = order.some(
    ({ path, transposed }, k) =>
      (transposed && path[0]!.shape.length > 2) || path.some(isTransposed) || links[k - 1]?.kind === 'transposed',
  )
  const description = {
    builder,
    places: new Map<string, Place>(),
    groups: new Set<string>(),
    streams: new Set<string>(),
    transposable,
  }
  const { places, groups, streams } = description
  let stream: Stream = { group: undefined, size: order[0]!.first.shape[1]!, flat: false }
  for (const [k, part] of order.entries()) {
    const position = {
      stream,
      isFirst: k === 0,
      isLast: k === order.length - 1,
      before: order[k - 1]?.last,
      input: order[0]!.first.shape[1]!,
    }
    stream = part.block
      ? describeBlock(description, part, part.block, position)
      : describeSingle(description, part, position)
  }
  if (links.length < order.length - 1 && problem !== undefined) keepGroups(builder, streams, problem)
  return { places, order, streams, keepAll: (reason) => keepGroups(builder, groups, reason) }
}

function keepGroups(builder: Builder, groups: Iterable<string | undefined>, reason: string): void {
  for (const group of groups) if (group !== undefined) builder.keep(group, reason)
}

function addGroup({ builder, groups }: Description, name: string, size: number): string {
  builder.group(name, size)
  groups.add(name)
  return name
}

/** A layer outside of blocks. Returns its output. */
function describeSingle(
  description: Description,
  { first: module, transposed }: Part,
  { stream, isFirst, isLast, before, input }: Position,
): Stream {
  const { builder, streams, transposable } = description
  const declared: Link | undefined = transposed ? { kind: 'transposed' } : undefined
  const how = isFirst ? declared : linkOf(module, stream.size, stream.flat)
  const size = outputOf(module, how)
  const depthwise = how?.kind === 'depthwise'
  const doubt = doubtOf(module, how, before, input)
  if (doubt !== undefined) keepGroups(builder, [stream.group], doubt)
  if (isLast && depthwise)
    keepGroups(builder, [stream.group], `${module.name} is the last layer: its outputs keep their places`)
  const out = depthwise ? stream.group : isLast ? undefined : addGroup(description, groupName(module.name), size)
  const into = how || isFirst ? stream : { ...stream, group: undefined }
  placeLayer(description, module, into, how, out, transposable)
  if (out !== undefined) streams.add(out)
  return { group: out, size, flat: module.shape.length === 2 }
}

/** A block: its layers, its shortcut and its gates. Returns its output. */
function describeBlock(
  description: Description,
  part: Part,
  block: Block,
  { stream, isFirst, isLast }: Position,
): Stream {
  const { builder, places, streams } = description
  const into: Stream = isFirst ? { ...stream, size: part.first.shape[1]! } : stream
  const out = blockOutput(part, block, into, isLast)
  if (out.group !== undefined) {
    addGroup(description, out.group, part.size)
    streams.add(out.group)
  }
  if (out.reason !== undefined) keepGroups(builder, [into.group, out.group], out.reason)
  const after: Stream = { group: out.group, size: part.size, flat: part.last.shape.length === 2 }
  places.set(block.name, { into, out: after })
  if (block.problem !== undefined)
    keepGroups(builder, [into.group, after.group], `block ${block.name}: ${block.problem}`)
  else {
    describePath(description, part.path, into, after, isFirst)
    if (block.shortcut) describeShortcut(description, block.shortcut, into, after, isFirst)
    for (const [squeeze, excite] of block.gates)
      describeGate(description, squeeze, excite, [...part.path.map(({ name }) => places.get(name)!.out), into])
  }
  return after
}

/** The layers of a block from its input to its output. */
function describePath(
  description: Description,
  path: readonly Module[],
  into: Stream,
  after: Stream,
  isFirst: boolean,
): void {
  const { builder, transposable } = description
  let inner = into
  for (const [at, module] of path.entries()) {
    const how = at === 0 && isFirst ? undefined : linkOf(module, inner.size, inner.flat)
    const isEnd = at === path.length - 1
    const next = isEnd
      ? after.group
      : how?.kind === 'depthwise'
        ? inner.group
        : addGroup(description, groupName(module.name), outputOf(module, how))
    if (isEnd && how?.kind === 'depthwise' && inner.group !== after.group)
      keepGroups(builder, [inner.group, after.group], `${module.name} ends a block by itself`)
    placeLayer(description, module, how || isFirst ? inner : { ...inner, group: undefined }, how, next, transposable)
    inner = { group: next, size: outputOf(module, how), flat: module.shape.length === 2 }
  }
}

/** The projection beside a block's layers. */
function describeShortcut(
  description: Description,
  shortcut: Module,
  into: Stream,
  after: Stream,
  isFirst: boolean,
): void {
  const how = linkOf(shortcut, into.size, into.flat)
  if (outputOf(shortcut, how) === after.size && (how?.kind === 'plain' || how === undefined))
    placeLayer(description, shortcut, how ? into : { ...into, group: undefined }, how, after.group, false)
  if (how?.kind !== 'plain' && !isFirst)
    keepGroups(description.builder, [into.group, after.group], `${shortcut.name} is not a plain projection`)
}

/** Two layers that scale channels: of the one place that has as many, or of none that is known. */
function describeGate(description: Description, squeeze: Module, excite: Module, candidates: readonly Stream[]): void {
  const fitting = new Set(candidates.filter(({ size }) => size === squeeze.shape[1]).map((place) => place.group))
  const inner = addGroup(description, groupName(squeeze.name), squeeze.shape[0]!)
  const [only] = fitting
  const known = fitting.size === 1 ? only : undefined
  if (fitting.size !== 1) keepGroups(description.builder, fitting, `which channels ${excite.name} scales is not clear`)
  const from: Stream = { group: known, size: squeeze.shape[1]!, flat: false }
  placeLayer(description, squeeze, from, { kind: 'plain' }, inner, false)
  const middle: Stream = { group: inner, size: squeeze.shape[0]!, flat: false }
  placeLayer(description, excite, middle, { kind: 'plain' }, known, false)
}

/** A layer from a stream into a group, or into places that keep their order. */
function placeLayer(
  { builder, places }: Description,
  module: Module,
  into: Stream,
  how: Link | undefined,
  out: string | undefined,
  transposable: boolean,
): void {
  const size = outputOf(module, how)
  const [axis, from] = [out ?? null, into.group ?? null]
  const weight = `${module.name}.weight`
  if (how?.kind === 'depthwise') builder.tensor(weight, [axis])
  else if (how?.kind === 'transposed' || (how === undefined && isTransposed(module)))
    builder.tensor(weight, [from, axis])
  else if (how?.kind === 'grouped') {
    builder.tensor(weight, [axis])
    keepGroups(builder, [into.group, out], `${module.name} is a grouped convolution`)
  } else {
    builder.tensor(weight, [axis, from !== null && how?.kind === 'flatten' ? `${from}*${how.times}` : from])
    if (transposable && module.shape.length > 2 && module.shape[0] === module.shape[1])
      keepGroups(
        builder,
        [into.group, out],
        `${module.name} is square: whether it is a transposed convolution is not clear`,
      )
  }
  builder.tensor(`${module.name}.bias`, [axis])
  places.set(module.name, { into, out: { group: out, size, flat: module.shape.length === 2 }, layer: module })
}

/** The group of a block's output, none where it keeps its order, and why its input must keep its own. */
function blockOutput(
  { path, size, last: end }: Part,
  block: Block,
  into: Stream,
  last: boolean,
): { group: string | undefined; reason?: string } {
  if (last) {
    const tied = !block.shortcut && size === into.size
    return {
      group: undefined,
      ...(tied ? { reason: `block ${block.name} is the last: its outputs keep their order` } : {}),
    }
  }
  if (block.shortcut) return { group: `${block.name}.out` }
  if (size === into.size) return { group: into.group }
  // Inverted residuals have shortcuts between equal sizes alone, and linear layers are not padded; nor is a picture.
  const depthwise = path.some(({ shape }) => shape.length > 2 && shape[1] === 1 && shape[0]! > 1)
  if (depthwise || into.group === undefined || end.shape.length === 2) return { group: `${block.name}.out` }
  const reason = `block ${block.name} goes from ${into.size} to ${plural(size, 'channel')} without a projection: a shortcut would tie their units (write spec: chain if there is none)`
  return { group: `${block.name}.out`, reason }
}
