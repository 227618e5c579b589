/** U-Nets and autoencoders of diffusers. Their configuration is needed: it has the numbers of groups and heads. */
import { setting } from '../../infer/builder.js'
import type { Architecture } from '../architecture.js'
import { attend, type Heads, headsOf } from '../attention.js'
import { type Channels, demand, type Net } from '../network.js'
import { add, chunk, concat, conv, count, embedding, groupNorm, linear, norm, output } from '../words.js'

/** What blocks share. */
interface Setup {
  readonly groups: number
  /** The embedding of the time step, if there is one. */
  readonly time?: Channels
  /** By the module of a block and the width of its attention. */
  readonly heads: (block: string, width: number) => Heads | undefined
}

const isClass = (net: Net, ...names: readonly string[]): void =>
  demand(names.includes(String(net.config?._class_name)), 'another class')

/** Numbers by block, or one for all. */
function byBlock(net: Net, name: string, k: number): number | undefined {
  const value = net.config?.[name]
  const own = Array.isArray(value) ? value[k] : value
  return typeof own === 'number' && Number.isSafeInteger(own) && own > 0 ? own : undefined
}

function resnet(net: Net, x: Channels, at: string, { groups, time }: Setup): Channels {
  const inside = conv(net, groupNorm(net, x, `${at}.norm1`, groups), `${at}.conv1`)
  if (net.has(`${at}.time_emb_proj.weight`)) {
    demand(time !== undefined, 'no time step')
    const shift = linear(net, time!, `${at}.time_emb_proj`)
    for (const part of shift.length === inside.length ? [shift] : chunk(shift, 2)) add(net, inside, part, at)
  }
  const out = conv(net, groupNorm(net, inside, `${at}.norm2`, groups), `${at}.conv2`)
  return add(net, net.has(`${at}.conv_shortcut.weight`) ? conv(net, x, `${at}.conv_shortcut`) : x, out, at)
}

/** Attention; `from` is undefined for an input of the network. */
function attention(net: Net, x: Channels, at: string, heads: Heads | undefined, from: Channels | undefined): Channels {
  const q = linear(net, x, `${at}.to_q`)
  const [k, v] = ['to_k', 'to_v'].map((part) => linear(net, from, `${at}.${part}`))
  return linear(net, attend(net, [q, k!, v!], heads, at), `${at}.to_out.0`)
}

/** Attention over the places of a picture, or layers of a transformer with text. */
function attentions(net: Net, x: Channels, at: string, block: string, { groups, heads }: Setup): Channels {
  if (net.has(`${at}.group_norm.weight`)) {
    const own = groupNorm(net, x, `${at}.group_norm`, groups)
    return add(net, x, attention(net, own, at, heads(block, x.length), own), at)
  }
  const read = (y: Channels, name: string) => (net.shape(`${name}.weight`).length === 2 ? linear : conv)(net, y, name)
  const own = read(groupNorm(net, x, `${at}.norm`, groups), `${at}.proj_in`)
  const layers = count(net, (k) => `${at}.transformer_blocks.${k}.norm1.weight`)
  for (let k = 0; k < layers; k++) {
    const layer = `${at}.transformer_blocks.${k}`
    const first = norm(net, own, `${layer}.norm1`)
    add(net, own, attention(net, first, `${layer}.attn1`, heads(block, own.length), first), layer)
    if (net.has(`${layer}.norm2.weight`)) {
      const second = norm(net, own, `${layer}.norm2`)
      add(net, own, attention(net, second, `${layer}.attn2`, heads(block, own.length), undefined), layer)
    }
    const gated = chunk(linear(net, norm(net, own, `${layer}.norm3`), `${layer}.ff.net.0.proj`), 2)
    add(net, own, linear(net, add(net, gated[0]!, gated[1]!, layer), `${layer}.ff.net.2`), layer)
  }
  return add(net, x, read(own, `${at}.proj_out`), at)
}

/** The layers of a block. `joined` gives what is put behind the channels before each of them. */
function layersOf(
  net: Net,
  into: Channels,
  block: string,
  setup: Setup,
  joined: () => Channels | undefined,
): Channels[] {
  const outs: Channels[] = []
  let x = into
  const layers = count(net, (k) => `${block}.resnets.${k}.conv1.weight`)
  for (let k = 0; k < layers; k++) {
    const other = joined()
    x = resnet(net, other ? concat(x, other) : x, `${block}.resnets.${k}`, setup)
    const at = `${block}.attentions.${k}`
    if (net.unread(`${at}.`).length > 0) x = attentions(net, x, at, block, setup)
    outs.push(x)
  }
  return outs
}

/** Changes the size of pictures: a convolution, or a residual block. */
function resized(net: Net, x: Channels, at: string, setup: Setup): Channels | undefined {
  if (net.has(`${at}.conv.weight`)) return conv(net, x, `${at}.conv`)
  return net.has(`${at}.conv1.weight`) ? resnet(net, x, at, setup) : undefined
}

function middle(net: Net, x: Channels, block: string, setup: Setup): Channels {
  let out = resnet(net, x, `${block}.resnets.0`, setup)
  const layers = count(net, (k) => `${block}.resnets.${k + 1}.conv1.weight`)
  for (let k = 0; k < layers; k++) {
    const at = `${block}.attentions.${k}`
    if (net.unread(`${at}.`).length > 0) out = attentions(net, out, at, block, setup)
    out = resnet(net, out, `${block}.resnets.${k + 1}`, setup)
  }
  return out
}

const blocksOf = (net: Net, list: string): number => count(net, (k) => `${list}.${k}.resnets.0.conv1.weight`)

function unet(net: Net): void {
  isClass(net, 'UNet2DConditionModel', 'UNet2DModel')
  const {
    only_cross_attention: crossed,
    dual_cross_attention: dual,
    class_embeddings_concat: joined,
  } = net.config ?? {}
  demand(
    [crossed ?? false, dual ?? false, joined ?? false].every((value) => value === false),
    'another form',
  )
  const groups = setting(net.config, 'norm_num_groups') ?? 32
  const heads = headsByBlock(net, blocksOf(net, 'down_blocks'))
  const setup: Setup = { groups, time: timeOf(net), heads }
  let x = conv(net, undefined, 'conv_in')
  const skips = [x]
  for (let k = 0; k < blocksOf(net, 'down_blocks'); k++) {
    skips.push(...layersOf(net, x, `down_blocks.${k}`, setup, () => undefined))
    const smaller = resized(net, skips.at(-1)!, `down_blocks.${k}.downsamplers.0`, setup)
    if (smaller) skips.push(smaller)
    x = skips.at(-1)!
  }
  x = middle(net, x, 'mid_block', setup)
  for (let k = 0; k < blocksOf(net, 'up_blocks'); k++) {
    x = layersOf(net, x, `up_blocks.${k}`, setup, () => skips.pop()).at(-1)!
    x = resized(net, x, `up_blocks.${k}.upsamplers.0`, setup) ?? x
  }
  demand(skips.length === 0, 'other layers on the way up')
  output(net, conv(net, groupNorm(net, x, 'conv_norm_out', groups), 'conv_out'))
}

/** Two layers from an embedding of numbers; other embeddings are added. */
function timeOf(net: Net): Channels {
  const two = (at: string) => linear(net, linear(net, undefined, `${at}.linear_1`), `${at}.linear_2`)
  const time = two('time_embedding')
  for (const at of ['add_embedding', 'class_embedding'])
    if (net.has(`${at}.linear_1.weight`)) add(net, time, two(at), at)
    else if (net.has(`${at}.weight`)) add(net, time, embedding(net, at), at)
  return time
}

/** In conditional U-Nets, `attention_head_dim` is the number of heads; in others, it is the width of one. */
function headsByBlock(net: Net, blocks: number): Setup['heads'] {
  const isConditional = net.config?._class_name === 'UNet2DConditionModel'
  return (block, width) => {
    const own = Number(/\d+/.exec(block)?.[0] ?? blocks - 1)
    const k = block.startsWith('up_') ? blocks - 1 - own : own
    if (isConditional)
      return headsOf(byBlock(net, 'num_attention_heads', k) ?? byBlock(net, 'attention_head_dim', k) ?? 8)
    if (net.config?.attention_head_dim === null) return headsOf(1)
    return headsOf(width / (byBlock(net, 'attention_head_dim', k) ?? 8))
  }
}

function autoencoder(net: Net): void {
  isClass(net, 'AutoencoderKL')
  const setup: Setup = { groups: setting(net.config, 'norm_num_groups') ?? 32, heads: () => headsOf(1) }
  let x = conv(net, undefined, 'encoder.conv_in')
  for (let k = 0; k < blocksOf(net, 'encoder.down_blocks'); k++) {
    const at = `encoder.down_blocks.${k}`
    x = layersOf(net, x, at, setup, () => undefined).at(-1)!
    x = resized(net, x, `${at}.downsamplers.0`, setup) ?? x
  }
  x = conv(
    net,
    groupNorm(net, middle(net, x, 'encoder.mid_block', setup), 'encoder.conv_norm_out', setup.groups),
    'encoder.conv_out',
  )
  output(net, net.has('quant_conv.weight') ? conv(net, x, 'quant_conv') : x)
  const latents = net.has('post_quant_conv.weight') ? conv(net, undefined, 'post_quant_conv') : undefined
  x = middle(net, conv(net, latents, 'decoder.conv_in'), 'decoder.mid_block', setup)
  for (let k = 0; k < blocksOf(net, 'decoder.up_blocks'); k++) {
    const at = `decoder.up_blocks.${k}`
    x = layersOf(net, x, at, setup, () => undefined).at(-1)!
    x = resized(net, x, `${at}.upsamplers.0`, setup) ?? x
  }
  output(net, conv(net, groupNorm(net, x, 'decoder.conv_norm_out', setup.groups), 'decoder.conv_out'))
}

export const DIFFUSERS: readonly Architecture[] = [
  { name: 'diffusers-unet', sign: /^time_embedding\.linear_1\.weight$/, forward: unet },
  { name: 'diffusers-autoencoder', sign: /^encoder\.down_blocks\.0\.resnets\.0\.conv1\.weight$/, forward: autoencoder },
]
