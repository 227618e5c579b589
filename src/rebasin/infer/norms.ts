/** Norms, and other tensors with one number per channel: each goes with the layer that it follows or precedes. */
import type { Part } from './blocks.js'
import type { Builder } from './builder.js'
import { beside, leaf, type Module, NORM_REASON, parentOf, sidesOf } from './modules.js'
import type { Network, Stream } from './streams.js'

/** A place that a norm may stand at. */
interface Candidate {
  readonly stream: Stream
  /** Of pictures, not of single numbers. */
  readonly spatial: boolean
  /** Places of each channel: more than 1 in a flattened picture. */
  readonly times: number
}

/** What all norms of a network together say of where they stand. */
interface Surroundings {
  readonly modules: readonly Module[]
  readonly places: Network['places']
  readonly order: readonly Part[]
  readonly blockOf: (module: Module) => string | undefined
  /** Layers with a place, by their block. */
  readonly byBlock: ReadonlyMap<string | undefined, readonly Module[]>
  /** Linear layers that read a flattened picture. */
  readonly flattened: readonly Module[]
  /** The side of their layer on which norms stand, outside of blocks and inside. */
  readonly stem: 'first' | 'after'
  readonly inBlocks: 'first' | 'after' | undefined
  /** There are as many norms with statistics as convolutions. */
  readonly withStatistics: boolean
}

export function describeNorms(
  builder: Builder,
  modules: readonly Module[],
  network: Network,
  blockOf: (module: Module) => string | undefined,
): void {
  const norms = modules.filter(({ kind }) => kind === 'norm')
  const surroundings = surroundingsOf(norms, modules, network, blockOf)
  for (const norm of norms)
    if (norm.shape[0] !== 1) describeNorm(builder, norm, candidatesOf(norm, surroundings), network.places)
}

function surroundingsOf(
  norms: readonly Module[],
  modules: readonly Module[],
  { places, order }: Network,
  blockOf: (module: Module) => string | undefined,
): Surroundings {
  const placed = [...places.values()].flatMap(({ layer }) => (layer ? [layer] : []))
  // Those that go on counting behind convolutions look as if they stood before theirs: one that can only stand after decides.
  const outside = norms.filter((norm) => blockOf(norm) === undefined)
  const top = sidesOf(outside, placed)
  const byBlock = new Map<string | undefined, Module[]>()
  for (const layer of placed) {
    const own = byBlock.get(blockOf(layer))
    if (own) own.push(layer)
    else byBlock.set(blockOf(layer), [layer])
  }
  return {
    modules,
    places,
    order,
    blockOf,
    byBlock,
    flattened: placed.filter(({ name, shape }) => shape.length === 2 && !places.get(name)!.into.flat),
    stem: top.after > 0 || top.first === 0 ? 'after' : 'first',
    inBlocks: blockSide(norms, outside, placed),
    withStatistics: counted(norms, placed),
  }
}

const placeOf = ({ places }: Surroundings, name: string, side: 'into' | 'out'): Candidate => {
  const { layer, [side]: stream } = places.get(name)!
  return { stream, spatial: (layer?.shape.length ?? 3) > 2, times: 1 }
}

/** Places by the norm's name; where none has as many channels, all that there are; and flattened pictures. */
function candidatesOf(norm: Module, surroundings: Surroundings): Candidate[] {
  const { places, flattened } = surroundings
  const size = norm.shape[0]!
  const named = namedPlaces(norm, surroundings)
  const fits = named.some(({ stream }) => stream.size === size)
  // Of a flattened picture.
  const parts = flattened.flatMap(({ name, shape }): Candidate[] => {
    const { into } = places.get(name)!
    return shape[1] === size && size > into.size ? [{ stream: into, spatial: false, times: size / into.size }] : []
  })
  return [...named, ...(fits ? [] : otherPlaces(norm, surroundings)), ...parts]
}

/** The places that a norm's name and its neighbours say. */
function namedPlaces(norm: Module, surroundings: Surroundings): Candidate[] {
  const { modules, places, blockOf, byBlock, stem, inBlocks, withStatistics } = surroundings
  const neighbours = beside(norm, modules)
  if (!neighbours) return []
  const block = blockOf(norm)
  if (neighbours.by === 'sequence') {
    const [before] = neighbours.layers
    if (before) return places.has(before.name) ? [placeOf(surroundings, before.name, 'out')] : []
    const first = byBlock.get(block)?.find(({ name }) => parentOf(name) === parentOf(norm.name))
    return first ? [placeOf(surroundings, first.name, 'into')] : []
  }
  // `bn1` of both `conv1` and `fc1`: the convolution's, where there are as many such norms as convolutions.
  const convolutions = neighbours.layers.filter(({ shape }) => shape.length > 2)
  const [one] = neighbours.layers.length === 1 ? neighbours.layers : withStatistics ? convolutions : []
  if (!one || !places.has(one.name)) return []
  const side = block === undefined ? stem : inBlocks
  const found: Candidate[] = []
  if (side !== 'first') found.push(placeOf(surroundings, one.name, 'out'))
  if (side !== 'after' || (neighbours.by === 'container' && !norm.statistics))
    found.push(placeOf(surroundings, one.name, 'into'))
  return found
}

/** Where a name says nothing: before the linear layers for a final norm, else any place in the norm's block. */
function otherPlaces(norm: Module, surroundings: Surroundings): Candidate[] {
  const { modules, places, order, blockOf, byBlock } = surroundings
  const block = blockOf(norm)
  // What it ends is what the linear layers read.
  const head = order.find(
    ({ block: of, first }) => !of && first.shape.length === 2 && !places.get(first.name)!.into.flat,
  )
  if (head && block === undefined && !beside(norm, modules) && /final|last|head|post/i.test(leaf(norm.name)))
    return [placeOf(surroundings, head.first.name, 'into')]
  const own = (byBlock.get(block) ?? []).flatMap(({ name }) => [
    placeOf(surroundings, name, 'into'),
    placeOf(surroundings, name, 'out'),
  ])
  // Between blocks, and after them.
  const between = block === undefined ? order.flatMap((part) => part.block?.name ?? []) : []
  return [...own, ...between.map((name) => placeOf(surroundings, name, 'out'))]
}

/** Gives a norm's tensors the group of the one place that fits; where several or none do, their channels keep their places. */
function describeNorm(
  builder: Builder,
  norm: Module,
  candidates: readonly Candidate[],
  places: Network['places'],
): void {
  const size = norm.shape[0]!
  const fitting = candidates.filter(({ stream, times }) => stream.size * times === size)
  const groups = new Set(
    fitting.map(({ stream, times }) => (stream.group === undefined ? undefined : `${stream.group}*${times}`)),
  )
  if (groups.size > 1) {
    for (const { stream } of fitting)
      if (stream.group !== undefined) builder.keep(stream.group, `it is not clear which layer ${norm.name} follows`)
    return
  }
  const [found] = fitting
  if (found?.stream.group === undefined) {
    if (!found)
      for (const { into, out } of places.values())
        for (const { group } of [into, out]) if (group) builder.keep(group, `${norm.name} does not match a layer`)
    return
  }
  const axis = found.times === 1 ? found.stream.group : `${found.stream.group}*${found.times}`
  for (const tensor of norm.tensors) if (builder.shapes.get(tensor)!.shape.length === 1) builder.tensor(tensor, [axis])
  const slope = /(prelu|act)/i.test(norm.name) && norm.tensors.length === 1
  if (!norm.statistics && fitting.some((place) => place.spatial) && !slope)
    builder.keep(found.stream.group, NORM_REASON)
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

/** Whether there are norms for the convolutions alone: as many as these, outside of blocks. */
const counted = (norms: readonly Module[], layers: readonly Module[]): boolean =>
  norms.filter(({ statistics }) => statistics).length === layers.filter(({ shape }) => shape.length > 2).length
