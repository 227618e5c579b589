/** Vision transformers of torchvision. */
import { ownValue } from '../../../core/collections/ownValue.js'
import type { Architecture } from '../architecture.js'
import { configuredHeads, fusedAttention, headsOf, multihead } from '../attention.js'
import { type Channels, demand, type Net } from '../network.js'
import { add, buffer, concat, conv, count, head, linear, norm, perChannel, squeezeExcite } from '../words.js'

/** Two linear layers of an `nn.Sequential`. */
const mlp = (net: Net, x: Channels | undefined, first: string, second: string): Channels =>
  linear(net, linear(net, x, first), second)

/** Heads of torchvision's own sizes, by width and depth. */
const HEADS: Readonly<Record<string, number>> = { '768x12': 12, '1024x24': 16, '1280x32': 16 }

function vit(net: Net): void {
  const x = net.has('conv_proj.weight') ? conv(net, undefined, 'conv_proj') : stem(net)
  perChannel(net, x, 'class_token', 3, 2)
  perChannel(net, x, 'encoder.pos_embedding', 3, 2)
  const layers = count(net, (k) => `encoder.layers.encoder_layer_${k}.ln_1.weight`)
  const heads = headsOf(configuredHeads(net) ?? ownValue(HEADS, `${x.length}x${layers}`))
  for (let k = 0; k < layers; k++) {
    const at = `encoder.layers.encoder_layer_${k}`
    add(net, x, multihead(net, norm(net, x, `${at}.ln_1`), `${at}.self_attention`, heads), at)
    const [first, second] = net.has(`${at}.mlp.0.weight`) ? ['0', '3'] : ['linear_1', 'linear_2']
    add(net, x, mlp(net, norm(net, x, `${at}.ln_2`), `${at}.mlp.${first}`, `${at}.mlp.${second}`), at)
  }
  const out = norm(net, x, 'encoder.ln')
  const hasLogits = net.has('heads.pre_logits.weight')
  head(
    net,
    hasLogits ? linear(net, out, 'heads.pre_logits') : out,
    net.has('heads.head.weight') ? 'heads.head' : 'heads',
  )
}

/** Convolutions in front of a transformer. */
function stem(net: Net): Channels {
  const layers = count(net, (k) => `conv_proj.conv_bn_relu_${k}.0.weight`)
  let x: Channels | undefined
  for (let k = 0; k < layers; k++) {
    const at = `conv_proj.conv_bn_relu_${k}`
    x = norm(net, conv(net, x, `${at}.0`), `${at}.1`)
  }
  demand(x !== undefined, 'no first layer')
  return conv(net, x, 'conv_proj.conv_last')
}

/** Windows with tables of positions, one column per head. Between stages, four neighbours are put together. */
function swin(net: Net): void {
  let x = norm(net, conv(net, undefined, 'features.0.0'), 'features.0.2')
  const parts = count(
    net,
    (k) => `features.${k}.${k === 0 ? '0.weight' : k % 2 ? '0.norm1.weight' : 'reduction.weight'}`,
  )
  demand(parts % 2 === 0, 'no last stage')
  for (let part = 1; part < parts; part += 2) {
    if (part > 1) x = merged(net, x, `features.${part - 1}`)
    const blocks = count(net, (k) => `features.${part}.${k}.norm1.weight`)
    for (let k = 0; k < blocks; k++) swinBlock(net, x, `features.${part}.${k}`)
  }
  head(net, norm(net, x, 'norm'), 'head')
}

function merged(net: Net, x: Channels, at: string): Channels {
  const four = concat(x, x, x, x)
  const isBefore = net.shape(`${at}.norm.weight`)[0] === four.length
  if (isBefore) return linear(net, norm(net, four, `${at}.norm`), `${at}.reduction`)
  return norm(net, linear(net, four, `${at}.reduction`), `${at}.norm`)
}

/** Norms stand before the layers in the first version, and behind them in the second. */
function swinBlock(net: Net, x: Channels, at: string): void {
  const attn = `${at}.attn`
  const names = [`${attn}.qkv`, `${attn}.proj`] as const
  buffer(net, `${attn}.relative_position_index`, `${attn}.relative_coords_table`)
  if (net.has(`${attn}.logit_scale`)) {
    const scales = net.read(`${attn}.logit_scale`, 3, [0])[0]!
    const table = mlp(net, undefined, `${attn}.cpb_mlp.0`, `${attn}.cpb_mlp.2`)
    const inside = fusedAttention(net, x, names, { count: scales.length, axes: [scales, table] })
    add(net, x, norm(net, inside, `${at}.norm1`), at)
    add(net, x, norm(net, mlp(net, x, `${at}.mlp.0`, `${at}.mlp.3`), `${at}.norm2`), at)
    return
  }
  const table = net.read(`${attn}.relative_position_bias_table`, 2, [1])[1]!
  const heads = { count: table.length, axes: [table] }
  add(net, x, fusedAttention(net, norm(net, x, `${at}.norm1`), names, heads), at)
  add(net, x, mlp(net, norm(net, x, `${at}.norm2`), `${at}.mlp.0`, `${at}.mlp.3`), at)
}

/** A convolutional block, then attention in windows and over a grid. */
function maxvit(net: Net): void {
  let x = conv(net, norm(net, conv(net, undefined, 'stem.0.0'), 'stem.0.1'), 'stem.1.0')
  const blocks = count(net, (k) => `blocks.${k}.layers.0.layers.MBconv.layers.conv_c.weight`)
  for (let block = 0; block < blocks; block++) {
    const layers = count(net, (k) => `blocks.${block}.layers.${k}.layers.MBconv.layers.conv_c.weight`)
    for (let layer = 0; layer < layers; layer++) {
      const at = `blocks.${block}.layers.${layer}.layers`
      x = mobileBlock(net, x, `${at}.MBconv`)
      for (const part of ['window_attention', 'grid_attention']) partitioned(net, x, `${at}.${part}`)
    }
  }
  const out = linear(net, norm(net, x, 'classifier.2'), 'classifier.3')
  head(net, out, 'classifier.5')
}

function mobileBlock(net: Net, x: Channels, at: string): Channels {
  const shortcut = net.has(`${at}.proj.1.weight`) ? conv(net, x, `${at}.proj.1`) : x
  let inside = norm(net, x, `${at}.layers.pre_norm`)
  for (const part of ['conv_a', 'conv_b'])
    inside = norm(net, conv(net, inside, `${at}.layers.${part}.0`), `${at}.layers.${part}.1`)
  squeezeExcite(net, inside, `${at}.layers.squeeze_excitation`)
  return add(net, shortcut, conv(net, inside, `${at}.layers.conv_c`), at)
}

function partitioned(net: Net, x: Channels, at: string): void {
  const attn = `${at}.attn_layer.1`
  const table = net.read(`${attn}.relative_position_bias_table`, 2, [1])[1]!
  buffer(net, `${attn}.relative_position_index`)
  const heads = { count: table.length, axes: [table] }
  add(net, x, fusedAttention(net, norm(net, x, `${at}.attn_layer.0`), [`${attn}.to_qkv`, `${attn}.merge`], heads), at)
  add(net, x, mlp(net, norm(net, x, `${at}.mlp_layer.0`), `${at}.mlp_layer.1`, `${at}.mlp_layer.3`), at)
}

export const VISION_TRANSFORMERS: readonly Architecture[] = [
  { name: 'vit-torchvision', sign: /encoder\.layers\.encoder_layer_0\.self_attention\.in_proj_weight$/, forward: vit },
  { name: 'swin', sign: /features\.1\.0\.attn\.qkv\.weight$/, forward: swin },
  { name: 'maxvit', sign: /blocks\.0\.layers\.0\.layers\.MBconv\.layers\.conv_c\.weight$/, forward: maxvit },
]
