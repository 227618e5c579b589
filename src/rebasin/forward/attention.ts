/** Attention with several heads. */
import { markBlocks } from '../axes/blocks.js'
import { setting } from '../infer/builder.js'
import { type Channels, channelsOf, demand, type Net } from './network.js'
import { add, chunk, linear, perChannel } from './words.js'

export interface Heads {
  readonly count: number
  /** Axes with one place per head, such as tables of positions. */
  readonly axes?: readonly Channels[]
}

const UNKNOWN_HEADS = 'the number of attention heads is not known without config.json'

/**
 * Places of queries and keys meet; places of values are those of the result. Each head has its own places.
 * `heads` is undefined if their number is not known.
 */
export function attend(
  net: Net,
  [q, k, v]: readonly [Channels, Channels, Channels],
  heads: Heads | undefined,
  where: string,
): Channels {
  add(net, q, k, where)
  if (heads === undefined) for (const axis of [q, v]) net.fix(axis, UNKNOWN_HEADS)
  else {
    // Units of their own, because there may be no tensor with one place per head.
    const ids = net.ties.newIds(heads.count)
    for (const axis of heads.axes ?? []) add(net, channelsOf(ids), axis, where)
    for (const axis of [q, k, v]) {
      demand(axis.length % heads.count === 0, `${where}: ${axis.length} places in ${heads.count} heads`)
      markBlocks(net, axis, axis.length / heads.count, ids)
    }
  }
  return v
}

/** `nn.MultiheadAttention` of one value. */
export function multihead(net: Net, x: Channels, module: string, heads: Heads | undefined): Channels {
  const at = module === '' ? '' : `${module}.`
  const [rows, columns] = net.read(`${at}in_proj_weight`, 2, [0, 1])
  add(net, x, columns!, module)
  if (net.has(`${at}in_proj_bias`)) perChannel(net, rows!, `${at}in_proj_bias`)
  const [q, k, v] = chunk(rows!, 3)
  return linear(net, attend(net, [q!, k!, v!], heads, module), `${at}out_proj`)
}

/** One linear layer for queries, keys and values, and one for the result. */
export function fusedAttention(net: Net, x: Channels, [qkv, out]: readonly [string, string], heads: Heads | undefined) {
  const [q, k, v] = chunk(linear(net, x, qkv), 3)
  return linear(net, attend(net, [q!, k!, v!], heads, qkv), out)
}

/** The number of heads in a configuration. */
export const headsOf = (count: number | undefined): Heads | undefined => (count === undefined ? undefined : { count })

export const configuredHeads = (net: Net): number | undefined =>
  setting(net.config, 'num_heads', 'num_attention_heads', 'nhead', 'n_head', 'n_heads')
