/** What the shapes of modules of diffusers say of their configurations. */
import type { Facts, Settings } from '../../types.js'

type Shapes = Facts['shapes']

/** Looks at the tensors of one module. */
interface Look {
  /** The size of a tensor along an axis. */
  readonly size: (name: string, axis: number) => number | undefined
  /** The number of tensors `NAME.0.REST`, `NAME.1.REST`, … */
  readonly count: (before: string, after: string) => number
}

function lookAt(shapes: Shapes, prefix: string): Look {
  const size = (name: string, axis: number): number | undefined => shapes.get(`${prefix}${name}`)?.shape[axis]
  const count = (before: string, after: string): number => {
    let found = 0
    while (shapes.has(`${prefix}${before}.${found}.${after}`)) found++
    return found
  }
  return { size, count }
}

/** The rows of `NAME.0.REST`, `NAME.1.REST`, …: the widths of levels. */
const widths = ({ size, count }: Look, before: string, after: string): number[] =>
  Array.from({ length: count(before, after) }, (_, level) => size(`${before}.${level}.${after}`, 0)!)

const known = (settings: Readonly<Record<string, unknown>>): Settings =>
  Object.fromEntries(Object.entries(settings).filter(([, value]) => value !== undefined))

function ofUnet(look: Look): Settings {
  const cross = [0, 1].map((level) =>
    look.size(`down_blocks.${level}.attentions.0.transformer_blocks.0.attn2.to_k.weight`, 1),
  )
  return known({
    block_out_channels: widths(look, 'down_blocks', 'resnets.0.conv1.weight'),
    cross_attention_dim: cross[0] ?? cross[1],
    in_channels: look.size('conv_in.weight', 1),
    out_channels: look.size('conv_out.weight', 0),
  })
}

const ofVae = (look: Look): Settings =>
  known({
    block_out_channels: widths(look, 'encoder.down_blocks', 'resnets.0.conv1.weight'),
    latent_channels: look.size('decoder.conv_in.weight', 1),
  })

function ofText(look: Look): Settings {
  const t5 = look.size('shared.weight', 0)
  if (t5 !== undefined)
    return known({
      vocab_size: t5,
      d_model: look.size('shared.weight', 1),
      num_layers: look.count('encoder.block', 'layer.0.SelfAttention.q.weight'),
    })
  return known({
    vocab_size: look.size('text_model.embeddings.token_embedding.weight', 0),
    hidden_size: look.size('text_model.embeddings.token_embedding.weight', 1),
    max_position_embeddings: look.size('text_model.embeddings.position_embedding.weight', 0),
    num_hidden_layers: look.count('text_model.encoder.layers', 'layer_norm1.weight'),
    intermediate_size: look.size('text_model.encoder.layers.0.mlp.fc1.weight', 0),
    projection_dim: look.size('text_projection.weight', 0),
  })
}

const ofFlux = (look: Look): Settings =>
  known({
    in_channels: look.size('x_embedder.weight', 1),
    joint_attention_dim: look.size('context_embedder.weight', 1),
    pooled_projection_dim: look.size('time_text_embed.text_embedder.linear_1.weight', 1),
    num_layers: look.count('transformer_blocks', 'norm1.linear.weight'),
    num_single_layers: look.count('single_transformer_blocks', 'norm.linear.weight'),
    guidance_embeds: look.size('time_text_embed.guidance_embedder.linear_1.weight', 0) !== undefined,
  })

const MODULES: Readonly<Record<string, (look: Look) => Settings>> = {
  unet: ofUnet,
  vae: ofVae,
  text_encoder: ofText,
  text_encoder_2: ofText,
  transformer: ofFlux,
}

/** The settings that the shapes of a module say. `prefix`: of its tensors. */
export const shapedSettings = (module: string, shapes: Shapes, prefix: string): Settings =>
  MODULES[module]?.(lookAt(shapes, prefix)) ?? {}

const same = (one: unknown, other: unknown): boolean => JSON.stringify(one) === JSON.stringify(other)

/** The configuration of the published model if the shapes are its shapes, or why it is not known. */
const published =
  (module: string, shapes: Settings, rest: Settings, more: (found: Settings) => Settings = () => ({})) =>
  (given: Shapes): Settings | string => {
    const found = shapedSettings(module, given, '')
    const other = Object.entries(shapes).find(([key, value]) => !same(found[key], value))
    if (!other) return { ...rest, ...found, ...more(found) }
    return `${other[0]} is ${JSON.stringify(found[other[0]])}, not ${JSON.stringify(other[1])} as in the published model`
  }

const UNET = {
  ...{ _class_name: 'UNet2DConditionModel', act_fn: 'silu', center_input_sample: false, downsample_padding: 1 },
  ...{ flip_sin_to_cos: true, freq_shift: 0, layers_per_block: 2, mid_block_scale_factor: 1 },
  ...{ norm_eps: 1e-5, norm_num_groups: 32 },
}
const [DOWN, CROSS_DOWN, UP, CROSS_UP] = ['DownBlock2D', 'CrossAttnDownBlock2D', 'UpBlock2D', 'CrossAttnUpBlock2D']

export const sd15Unet = published(
  'unet',
  { block_out_channels: [320, 640, 1280, 1280], cross_attention_dim: 768, out_channels: 4 },
  {
    ...UNET,
    ...{ attention_head_dim: 8, sample_size: 64 },
    down_block_types: [CROSS_DOWN, CROSS_DOWN, CROSS_DOWN, DOWN],
    up_block_types: [UP, CROSS_UP, CROSS_UP, CROSS_UP],
  },
)

export const sdxlUnet = published(
  'unet',
  { block_out_channels: [320, 640, 1280], cross_attention_dim: 2048, out_channels: 4 },
  {
    ...UNET,
    ...{ attention_head_dim: [5, 10, 20], sample_size: 128, transformer_layers_per_block: [1, 2, 10] },
    ...{ addition_embed_type: 'text_time', addition_time_embed_dim: 256, use_linear_projection: true },
    projection_class_embeddings_input_dim: 2816,
    down_block_types: [DOWN, CROSS_DOWN, CROSS_DOWN],
    up_block_types: [CROSS_UP, CROSS_UP, UP],
  },
)

export const fluxTransformer = (shapes: Shapes): Settings | string => {
  const width = shapes.get('x_embedder.weight')?.shape[0]
  const out = shapes.get('proj_out.weight')?.shape[0]
  if (width !== 3072) return `its width is ${width}, not 3072 as in the published model`
  return published(
    'transformer',
    { num_layers: 19, num_single_layers: 38, joint_attention_dim: 4096, pooled_projection_dim: 768 },
    { _class_name: 'FluxTransformer2DModel', attention_head_dim: 128, num_attention_heads: 24, patch_size: 1 },
    ({ in_channels }) => (out === in_channels ? {} : { out_channels: out }),
  )(shapes)
}
