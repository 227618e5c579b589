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

/** `nn.MultiheadAttention`: the query can differ from the keys and values. */
export function multihead(net: Net, x: Channels, module: string, heads: Heads | undefined, from = x): Channels {
  const size = x.length
  const [q, k, v] = net.has(`${module}.in_proj_weight`)
    ? projections(net, x, from, module)
    : ['q', 'k', 'v'].map((part) => {
        const [rows, columns] = net.read(`${module}.${part}_proj_weight`, 2, [0, 1])
        add(net, part === 'q' ? x : from, columns!, module)
        return rows!
      })
  if (net.has(`${module}.in_proj_bias`)) {
    const [bias] = net.read(`${module}.in_proj_bias`, 1, [0])
    for (const [i, part] of chunk(bias!, 3).entries()) add(net, [q!, k!, v!][i]!, part, module)
  }
  for (const [name, axis] of [
    ['bias_k', k],
    ['bias_v', v],
  ] as const)
    if (net.has(`${module}.${name}`)) perChannel(net, axis!, `${module}.${name}`, 3, 2)
  demand(q!.length === size, `${module} has another width`)
  return linear(net, attend(net, [q!, k!, v!], heads, module), `${module}.out_proj`)
}

/** Rows of one weight; its columns meet the query and what keys and values are computed from. */
function projections(net: Net, x: Channels, from: Channels, module: string): Channels[] {
  const [rows, columns] = net.read(`${module}.in_proj_weight`, 2, [0, 1])
  add(net, x, columns!, module)
  add(net, from, columns!, module)
  return chunk(rows!, 3)
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
