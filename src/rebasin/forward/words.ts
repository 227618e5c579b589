/** The words that architectures are written in. */
import { concatAxes, idsInOrder, ofIds, ofRuns, sliceAxis, spreadRuns } from '../axes/axis.js'
import { groupedOutputs, markBlocks } from '../axes/blocks.js'
import { contract, join } from '../axes/join.js'
import { type Channels, demand, type Net, still } from './network.js'

const INPUT = 'the inputs of the network keep their order'
const OUTPUT = 'the outputs of the network keep their order'

const channels = (axis: { readonly length?: number }): Channels => axis as Channels

/** Ties two values place by place. */
export function add(net: Net, x: Channels, y: Channels, where = 'an addition'): Channels {
  demand(x.length === y.length, `${where}: ${x.length} and ${y.length} channels meet`)
  return channels(join(net, x, y, where))
}

/** Ties what a tensor has on one axis to channels. Its other axes keep their order. */
export function perChannel(net: Net, x: Channels, name: string, rank = 1, axis = 0): void {
  const own = net.read(name, rank, [axis])
  add(net, x, own[axis]!, name)
}

/** Those of a module's tensors that are there. */
function optional(net: Net, x: Channels, module: string, parts: readonly string[]): Channels {
  for (const part of parts) if (net.has(`${module}.${part}`)) perChannel(net, x, `${module}.${part}`)
  return x
}

/** BatchNorm, LayerNorm, RMSNorm, InstanceNorm. */
export function norm(net: Net, x: Channels, module: string): Channels {
  demand(net.has(`${module}.weight`), `no norm ${module}`)
  return optional(net, x, module, ['weight', 'bias', 'running_mean', 'running_var'])
}

/** Channels can change places within their group. */
export function groupNorm(net: Net, x: Channels, module: string, groups: number | undefined): Channels {
  const out = norm(net, x, module)
  if (groups === undefined) net.fix(x, `the number of groups of ${module} is not known without config.json`)
  else {
    demand(x.length % groups === 0, `${module}: ${x.length} channels in ${groups} groups`)
    markBlocks(net, x, x.length / groups)
  }
  return out
}

/** `x` is undefined for the network's input: its places keep their order. */
function columns(net: Net, x: Channels | undefined, own: Channels, where: string): void {
  if (!x) {
    net.fix(own, INPUT)
    return
  }
  demand(x.length === own.length, `${where}: ${x.length} channels, but ${own.length} columns`)
  contract(net, x, own, where)
}

export function linear(net: Net, x: Channels | undefined, module: string): Channels {
  const [rows, own] = net.read(`${module}.weight`, 2, [0, 1])
  columns(net, x, own!, module)
  return optional(net, rows!, module, ['bias'])
}

/** A convolution of pictures or sequences. Its number of groups follows from the shapes. */
export function conv(net: Net, x: Channels | undefined, module: string, isTransposed = false): Channels {
  const { length } = net.shape(`${module}.weight`)
  demand(length >= 3, `${module} is not a convolution`)
  const [first, second] = net.read(`${module}.weight`, length, [0, 1])
  const [rows, own] = isTransposed ? [second!, first!] : [first!, second!]
  if (!x || x.length === own.length) {
    columns(net, x, own, module)
    return optional(net, rows, module, ['bias'])
  }
  const groups = x.length / own.length
  const isWhole = !isTransposed && Number.isInteger(groups) && rows.length % groups === 0
  demand(isWhole, `${module}: ${x.length} channels, but ${own.length} columns`)
  return optional(net, channels(groupedOutputs(net, x, [rows, own], groups, module)), module, ['bias'])
}

/** A table with one row per index. */
export function embedding(net: Net, module: string): Channels {
  return net.read(`${module}.weight`, 2, [1])[1]!
}

export const concat = (...values: readonly Channels[]): Channels => channels(concatAxes(values)!)

export function slice(x: Channels, start: number, count: number): Channels {
  demand(start + count <= x.length, `${x.length} channels have no place ${start + count - 1}`)
  return channels(sliceAxis(x, start, count))
}

export function chunk(x: Channels, parts: number): Channels[] {
  demand(x.length % parts === 0, `${x.length} channels in ${parts} parts`)
  const size = x.length / parts
  return Array.from({ length: parts }, (_, k) => slice(x, k * size, size))
}

/** Channels of a picture, flattened with its places. */
export function flatten(net: Net, x: Channels, places: number): Channels {
  const runs = x.runs && spreadRuns(x.runs, places)
  if (!runs) net.fix(x, 'it is flattened')
  return runs ? channels(ofRuns(runs)) : still(x.length * places)
}

/** The same channel of all groups together: the shuffle of ShuffleNet. */
export function shuffle(x: Channels, groups: number): Channels {
  demand(x.length % groups === 0, `${x.length} channels in ${groups} groups`)
  const size = x.length / groups
  const order = Array.from({ length: x.length }, (_, i) => (i % groups) * size + Math.floor(i / groups))
  const ids = idsInOrder(x)
  if (ids)
    return channels(
      ofIds(
        Int32Array.from(order, (place) => ids[place]!),
        1,
      ),
    )
  return concat(...order.map((place) => slice(x, place, 1)))
}

/** The end of the network, or of a part that other networks may read. */
export function output(net: Net, x: Channels): void {
  net.fix(x, OUTPUT)
}

/** The last layer. If it is something else than a linear layer, what goes into it keeps its order; so it does without one. */
export function head(net: Net, x: Channels, module: string): void {
  const own = net.unread(`${module}.`)
  const isLinear = own.every((name) => name === `${module}.weight` || name === `${module}.bias`)
  if (own.length > 0 && isLinear && net.shape(`${module}.weight`).length === 2) net.fix(linear(net, x, module), OUTPUT)
  else net.fix(x, own.length > 0 ? `${module} is not a linear layer` : OUTPUT)
  buffer(net, ...net.unread(`${module}.`))
}

/** Tensors of which nothing moves. */
export function buffer(net: Net, ...names: readonly string[]): void {
  for (const name of names) if (net.has(name)) net.read(name, net.shape(name).length, [])
}

/** Squeeze and excitation: two convolutions of one pixel, and a factor per channel. */
export function squeezeExcite(net: Net, x: Channels, module: string, first = 'fc1', second = 'fc2'): Channels {
  return add(net, x, conv(net, conv(net, x, `${module}.${first}`), `${module}.${second}`), module)
}

/** How many modules of a list there are: those for which a tensor with this name is there. */
export function count(net: Net, name: (k: number) => string): number {
  let k = 0
  while (net.has(name(k))) k++
  return k
}
