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
import { beside, leaf, type Module, modulesOf, NORM_REASON, parentOf, sidesOf } from './modules.js'

/** A place between two layers: the group of its channels, none where they keep their order, and how many there are. */
interface Stream {
  readonly group: string | undefined
  readonly size: number
  /** Units of a linear layer. */
  readonly flat: boolean
}

/** Whether a network has blocks, which may have shortcuts. */
export const hasBlocks = (builder: Builder): boolean =>
  partition(modulesOf(builder.shapes).modules).items.some(({ block }) => block !== undefined)

/** `chain`: whoever asks for the spec says that nothing goes around any layer. */
export function describeNetwork(builder: Builder, chain: boolean): void {
  const { modules, rest } = modulesOf(builder.shapes)
  const layers = modules.filter(({ kind }) => kind === 'layer')
  const hint = 'write the spec in the recipe or in a file, or let it be read from an ONNX export: spec: model.onnx'
  if (layers.length < 2)
    throw fault('spec-unknown', 'no permutation spec can be inferred: the model has fewer than two layers', hint)
  const found = partition(modules)
  const items = chain ? layers.map(single) : found.items
  const blockOf = chain ? () => undefined : found.blockOf
  const ordered = orderOf(items)
  if ('problem' in ordered && !items.some(({ block }) => block))
    throw fault('spec-unknown', `no permutation spec can be inferred: ${ordered.problem}`, hint)
  const order = 'order' in ordered ? ordered.order : items
  const network = describeOrder(builder, order, 'problem' in ordered ? ordered.problem : undefined)
  describeNorms(builder, modules, network, blockOf)
  for (const name of rest)
    if (builder.shapes.get(name)!.shape.some((n) => n > 1)) {
      builder.keep(name, 'it has no place in a network that is known')
      network.keepAll(`tensor ${name} has no place in a network that is known`)
    }
}

const single = (layer: Module): Part => ({
  name: layer.name,
  path: [layer],
  first: layer,
  last: layer,
  size: layer.shape[0]!,
})

interface Network {
  /** Where each layer reads and writes; of a block's name, what goes in and comes out of it. */
  readonly places: ReadonlyMap<string, { readonly into: Stream; readonly out: Stream; readonly layer?: Module }>
  readonly order: readonly Part[]
  readonly keepAll: (reason: string) => void
  /** Groups between parts. */
  readonly streams: ReadonlySet<string>
}

function describeOrder(builder: Builder, order: readonly Part[], problem: string | undefined): Network {
  const places = new Map<string, { into: Stream; out: Stream; layer?: Module }>()
  const groups = new Set<string>()
  const streams = new Set<string>()
  const keep = (group: string | undefined, reason: string) => {
    if (group !== undefined) builder.keep(group, reason)
  }
  const group = (name: string, size: number): string => {
    builder.group(name, size)
    groups.add(name)
    return name
  }
  /** A layer from a stream into a group, or into places that keep their order. */
  const layer = (
    module: Module,
    into: Stream,
    how: Link | undefined,
    out: string | undefined,
    transposable: boolean,
  ) => {
    const size = outputOf(module, how)
    const [axis, from] = [out ?? null, into.group ?? null]
    const weight = `${module.name}.weight`
    if (how?.kind === 'depthwise') builder.tensor(weight, [axis])
    else if (how?.kind === 'transposed' || (how === undefined && isTransposed(module)))
      builder.tensor(weight, [from, axis])
    else if (how?.kind === 'grouped') {
      builder.tensor(weight, [axis])
      for (const name of [into.group, out]) keep(name, `${module.name} is a grouped convolution`)
    } else {
      builder.tensor(weight, [axis, from !== null && how?.kind === 'flatten' ? `${from}*${how.times}` : from])
      if (transposable && module.shape.length > 2 && module.shape[0] === module.shape[1])
        for (const name of [into.group, out])
          keep(name, `${module.name} is square: whether it is a transposed convolution is not clear`)
    }
    builder.tensor(`${module.name}.bias`, [axis])
    places.set(module.name, { into, out: { group: out, size, flat: module.shape.length === 2 }, layer: module })
  }
  const links = linksOf(order)
  const linked = links.length === order.length - 1
  const transposable = order.some(
    ({ path, transposed }, k) => transposed || path.some(isTransposed) || links[k - 1]?.kind === 'transposed',
  )
  let stream: Stream = { group: undefined, size: order[0]!.first.shape[1]!, flat: false }
  for (const [k, part] of order.entries()) {
    const last = k === order.length - 1
    const { block, path } = part
    if (!block) {
      const first: Link | undefined = part.transposed ? { kind: 'transposed' } : undefined
      const how = k === 0 ? first : linkOf(part.first, stream.size, stream.flat)
      const size = outputOf(part.first, how)
      const depthwise = how?.kind === 'depthwise'
      if (last && depthwise) keep(stream.group, `${part.first.name} is the last layer: its outputs keep their places`)
      const out = depthwise ? stream.group : last ? undefined : group(groupName(part.first.name), size)
      if (how || k === 0) layer(part.first, stream, how, out, transposable)
      else layer(part.first, { ...stream, group: undefined }, undefined, out, transposable)
      stream = { group: out, size, flat: part.first.shape.length === 2 }
      if (out !== undefined) streams.add(out)
      continue
    }
    const into: Stream = k === 0 ? { ...stream, size: part.first.shape[1]! } : stream
    const out = blockOutput(part, block, into, last)
    if (out.group !== undefined) {
      group(out.group, part.size)
      streams.add(out.group)
    }
    if (out.reason !== undefined) for (const name of [into.group, out.group]) keep(name, out.reason)
    const after: Stream = { group: out.group, size: part.size, flat: part.last.shape.length === 2 }
    places.set(block.name, { into, out: after })
    if (block.problem === undefined) {
      let inner = into
      path.forEach((module, at) => {
        const how = at === 0 && k === 0 ? undefined : linkOf(module, inner.size, inner.flat)
        const end = at === path.length - 1
        const next = end
          ? after.group
          : how?.kind === 'depthwise'
            ? inner.group
            : group(groupName(module.name), outputOf(module, how))
        if (end && how?.kind === 'depthwise' && inner.group !== after.group)
          for (const name of [inner.group, after.group]) keep(name, `${module.name} ends a block by itself`)
        layer(module, how || k === 0 ? inner : { ...inner, group: undefined }, how, next, transposable)
        inner = { group: next, size: outputOf(module, how), flat: module.shape.length === 2 }
      })
      if (block.shortcut) {
        const how = linkOf(block.shortcut, into.size, into.flat)
        if (outputOf(block.shortcut, how) === part.size && (how?.kind === 'plain' || how === undefined))
          layer(block.shortcut, how ? into : { ...into, group: undefined }, how, after.group, false)
        if (how?.kind !== 'plain' && k > 0)
          for (const name of [into.group, after.group]) keep(name, `${block.shortcut.name} is not a plain projection`)
      }
      for (const [squeeze, excite] of block.gates)
        gate(squeeze, excite, [...path.map(({ name }) => places.get(name)!.out), into])
    } else for (const name of [into.group, after.group]) keep(name, `block ${block.name}: ${block.problem}`)
    stream = after
  }
  if (!linked && problem !== undefined) for (const name of streams) keep(name, problem)
  return {
    places,
    order,
    streams,
    keepAll: (reason) => {
      for (const name of groups) keep(name, reason)
    },
  }

  /** Two layers that scale channels: of the one place that has as many, or of none that is known. */
  function gate(squeeze: Module, excite: Module, candidates: readonly Stream[]): void {
    const fitting = new Set(candidates.filter(({ size }) => size === squeeze.shape[1]).map((place) => place.group))
    const inner = group(groupName(squeeze.name), squeeze.shape[0]!)
    const [only] = fitting
    const known = fitting.size === 1 ? only : undefined
    if (fitting.size !== 1) for (const name of fitting) keep(name, `which channels ${excite.name} scales is not clear`)
    const from: Stream = { group: known, size: squeeze.shape[1]!, flat: false }
    layer(squeeze, from, { kind: 'plain' }, inner, false)
    layer(excite, { group: inner, size: squeeze.shape[0]!, flat: false }, { kind: 'plain' }, known, false)
  }
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
      ...(tied ? { reason: `block ${block.name} is the last: its outputs keep their places` } : {}),
    }
  }
  if (block.shortcut) return { group: `${block.name}.out` }
  if (size === into.size) return { group: into.group }
  // Inverted residuals have shortcuts between equal sizes alone, and linear layers are not padded; nor is a picture.
  const depthwise = path.some(({ shape }) => shape.length > 2 && shape[1] === 1 && shape[0]! > 1)
  if (depthwise || into.group === undefined || end.shape.length === 2) return { group: `${block.name}.out` }
  const reason = `block ${block.name} goes from ${into.size} to ${plural(size, 'channel')} without a projection: a shortcut would tie places (spec: chain says that there is none)`
  return { group: `${block.name}.out`, reason }
}

/** Norms, and other tensors of one number a channel, go with the layer that they follow, or stand before. */
function describeNorms(
  builder: Builder,
  modules: readonly Module[],
  { places, order }: Network,
  blockOf: (module: Module) => string | undefined,
): void {
  const norms = modules.filter(({ kind }) => kind === 'norm')
  const placed = [...places.values()].flatMap(({ layer }) => (layer ? [layer] : []))
  // Those that go on counting behind convolutions look as if they stood before theirs: one that can only stand after decides.
  const outside = norms.filter((norm) => blockOf(norm) === undefined)
  const top = sidesOf(outside, placed)
  const stem = top.after > 0 || top.first === 0 ? 'after' : 'first'
  const inBlocks = blockSide(norms, outside, placed)
  const byBlock = new Map<string | undefined, Module[]>()
  for (const layer of placed) {
    const own = byBlock.get(blockOf(layer))
    if (own) own.push(layer)
    else byBlock.set(blockOf(layer), [layer])
  }
  const flattened = placed.filter(({ name, shape }) => shape.length === 2 && !places.get(name)!.into.flat)
  const withStatistics = counted(norms, placed)
  const spatial = (name: string) => (places.get(name)!.layer?.shape.length ?? 3) > 2
  for (const norm of norms) {
    const size = norm.shape[0]!
    if (size === 1) continue
    const block = blockOf(norm)
    const own = byBlock.get(block) ?? []
    const told = beside(norm, modules)
    const candidates: { stream: Stream; spatial: boolean; times: number }[] = []
    const into = (name: string) => candidates.push({ stream: places.get(name)!.into, spatial: spatial(name), times: 1 })
    const out = (name: string) => candidates.push({ stream: places.get(name)!.out, spatial: spatial(name), times: 1 })
    const all = () => {
      for (const layer of own) {
        into(layer.name)
        out(layer.name)
      }
      // Between blocks, and after them.
      if (block === undefined) for (const part of order) if (part.block) out(part.block.name)
    }
    if (told?.by === 'sequence') {
      const first = own.find(({ name }) => parentOf(name) === parentOf(norm.name))
      if (told.layers[0] && places.has(told.layers[0].name)) out(told.layers[0].name)
      else if (told.layers.length === 0 && first) into(first.name)
    } else if (told) {
      // `bn1` of both `conv1` and `fc1`: the convolution's, where there are as many such norms as convolutions.
      const convolutions = told.layers.filter(({ shape }) => shape.length > 2)
      const [one] = told.layers.length === 1 ? told.layers : withStatistics ? convolutions : []
      const before = block === undefined ? stem : inBlocks
      if (one && places.has(one.name)) {
        if (before !== 'first') out(one.name)
        if (before !== 'after' || (told.by === 'container' && !norm.statistics)) into(one.name)
      }
    }
    if (!candidates.some(({ stream }) => stream.size === size)) {
      // What it ends is what the linear layers read.
      const head = order.find(
        ({ block: of, first }) => !of && first.shape.length === 2 && !places.get(first.name)!.into.flat,
      )
      if (head && block === undefined && !told && /final|last|head|post/i.test(leaf(norm.name))) into(head.first.name)
      else all()
    }
    // Of a flattened picture.
    for (const layer of flattened) {
      const { into: from } = places.get(layer.name)!
      if (layer.shape[1] === size && size > from.size)
        candidates.push({ stream: from, spatial: false, times: size / from.size })
    }
    const fitting = candidates.filter(({ stream, times }) => stream.size * times === size)
    const groups = new Set(
      fitting.map(({ stream, times }) => (stream.group === undefined ? undefined : `${stream.group}*${times}`)),
    )
    if (groups.size > 1) {
      for (const { stream } of fitting)
        if (stream.group !== undefined) builder.keep(stream.group, `it is not clear which layer ${norm.name} follows`)
      continue
    }
    const [found] = fitting
    if (found?.stream.group === undefined) {
      if (!found)
        for (const { group } of allStreams(places)) if (group) builder.keep(group, `${norm.name} fits no layer`)
      continue
    }
    const axis = found.times === 1 ? found.stream.group : `${found.stream.group}*${found.times}`
    for (const tensor of norm.tensors)
      if (builder.shapes.get(tensor)!.shape.length === 1) builder.tensor(tensor, [axis])
    const slope = /(prelu|act)/i.test(norm.name) && norm.tensors.length === 1
    if (!norm.statistics && fitting.some((place) => place.spatial) && !slope)
      builder.keep(found.stream.group, NORM_REASON)
  }
}

/**
 * Where the norms of blocks stand, if they are named for their layers. Without widths that tell it: after them, where the first layer has
 * a norm and nothing else outside of blocks has, for networks with norms first need one at their end.
 */
function blockSide(
  norms: readonly Module[],
  outside: readonly Module[],
  layers: readonly Module[],
): 'first' | 'after' | undefined {
  const { first, after } = sidesOf(
    norms.filter((norm) => !outside.includes(norm)),
    layers,
  )
  if (first > 0 || after > 0) return first > 0 && after > 0 ? undefined : first > 0 ? 'first' : 'after'
  const told = outside.length === 1 ? beside(outside[0]!, layers) : undefined
  return told?.layers.some(({ shape }) => shape[0] === outside[0]!.shape[0]) ? 'after' : undefined
}

const allStreams = (places: Network['places']) => [...places.values()].flatMap(({ into, out }) => [into, out])

/** Whether there are norms for the convolutions alone: as many as these, outside of blocks. */
const counted = (norms: readonly Module[], layers: readonly Module[]): boolean =>
  norms.filter(({ statistics }) => statistics).length === layers.filter(({ shape }) => shape.length > 2).length
