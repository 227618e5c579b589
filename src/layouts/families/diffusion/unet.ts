/** The UNet of Stable Diffusion: blocks in one list in original files, in levels in diffusers. */
import type { Facts } from '../../types.js'
import type { ModuleRule } from './rules.js'

/** The parts of a residual block. */
const RESNET: readonly ModuleRule[] = [
  ['in_layers.0', 'norm1'],
  ['in_layers.2', 'conv1'],
  ['emb_layers.1', 'time_emb_proj'],
  ['out_layers.0', 'norm2'],
  ['out_layers.3', 'conv2'],
  ['skip_connection', 'conv_shortcut'],
].map(([original, diffusers]) => [`${original}.{wb}`, `${diffusers}.{wb}`])

/** The parts of a block of transformers. They have the same names in both. */
const ATTENTION: readonly ModuleRule[] = [
  'norm.{wb}',
  'proj_in.{wb}',
  'proj_out.{wb}',
  'transformer_blocks.{rest}',
].map((part) => [part, part])

const within = (original: string, diffusers: string, parts: readonly ModuleRule[]): ModuleRule[] =>
  parts.map(([name, is]) => [`${original}.${name}`, `${diffusers}.${is}`])

/** Levels of the largest UNet. Rules of levels that a UNet does not have match nothing. */
const LEVELS = 4
/** Residual blocks per level on the way down. On the way up there is one more. */
const LAYERS = 2

/**
 * `attention`: whether the lowest level has attention, as in SDXL. Its upsampler is then the third part of its last block,
 * otherwise the second. `embedding`: the name that diffusers gives `label_emb`.
 */
export function unetRules({ attention, embedding }: { readonly attention: boolean; readonly embedding?: string }) {
  const rules: ModuleRule[] = [
    ['input_blocks.0.0.{wb}', 'conv_in.{wb}'],
    ['time_embed.0.{wb}', 'time_embedding.linear_1.{wb}'],
    ['time_embed.2.{wb}', 'time_embedding.linear_2.{wb}'],
    ['out.0.{wb}', 'conv_norm_out.{wb}'],
    ['out.2.{wb}', 'conv_out.{wb}'],
  ]
  if (embedding !== undefined)
    rules.push(
      ['label_emb.0.0.{wb}', `${embedding}.linear_1.{wb}`],
      ['label_emb.0.2.{wb}', `${embedding}.linear_2.{wb}`],
    )
  for (let level = 0; level < LEVELS; level++) {
    const [down, up] = [`down_blocks.${level}`, `up_blocks.${level}`]
    const [input, output] = [level * (LAYERS + 1) + 1, level * (LAYERS + 1)]
    for (let layer = 0; layer < LAYERS; layer++)
      rules.push(
        ...within(`input_blocks.${input + layer}.0`, `${down}.resnets.${layer}`, RESNET),
        ...within(`input_blocks.${input + layer}.1`, `${down}.attentions.${layer}`, ATTENTION),
      )
    for (let layer = 0; layer <= LAYERS; layer++)
      rules.push(
        ...within(`output_blocks.${output + layer}.0`, `${up}.resnets.${layer}`, RESNET),
        ...within(`output_blocks.${output + layer}.1`, `${up}.attentions.${layer}`, ATTENTION),
      )
    const last = level === LEVELS - 1
    if (!last) {
      const place = level === 0 && !attention ? 1 : 2
      rules.push(
        [`input_blocks.${input + LAYERS}.0.op.{wb}`, `${down}.downsamplers.0.conv.{wb}`],
        [`output_blocks.${output + LAYERS}.${place}.conv.{wb}`, `${up}.upsamplers.0.conv.{wb}`],
      )
    }
  }
  rules.push(
    ...within('middle_block.0', 'mid_block.resnets.0', RESNET),
    ...within('middle_block.1', 'mid_block.attentions.0', ATTENTION),
    ...within('middle_block.2', 'mid_block.resnets.1', RESNET),
  )
  return rules
}

/** What tells one UNet from another. */
export interface UnetTraits {
  /** The prefix of its tensors. */
  readonly prefix: string
  readonly original: boolean
  readonly levels: 3 | 4
  /** The highest level has attention. */
  readonly attention: boolean
  /** It has an embedding for sizes or classes. */
  readonly embedding: boolean
  /** `proj_in` of transformers is a matrix, not a convolution. */
  readonly linear: boolean
}

const PREFIXES: readonly (readonly [prefix: string, original: boolean])[] = [
  ['model.diffusion_model.', true],
  ['unet.', false],
  ['', true],
  ['', false],
]

/** The traits of the UNet of Stable Diffusion among a model's tensors, if there is one. */
export function unetTraits({ shapes }: Facts): UnetTraits | undefined {
  for (const [prefix, original] of PREFIXES) {
    const has = (name: string): boolean => shapes.has(`${prefix}${name}`)
    const is = original
      ? has('time_embed.0.weight') && has('input_blocks.3.0.op.weight') && has('output_blocks.8.0.in_layers.0.weight')
      : has('time_embedding.linear_1.weight') &&
        has('conv_out.weight') &&
        has('down_blocks.0.downsamplers.0.conv.weight') &&
        has('up_blocks.0.resnets.2.norm1.weight') &&
        !has('up_blocks.0.resnets.3.norm1.weight')
    // Where the middle has no attention, as in SSD-1B, originals count its parts otherwise.
    const middle = original ? 'middle_block.1.norm.weight' : 'mid_block.attentions.0.norm.weight'
    if (!is || !has(middle)) continue
    const projection = shapes.get(`${prefix}${original ? 'middle_block.1' : 'mid_block.attentions.0'}.proj_in.weight`)
    return {
      ...{ prefix, original },
      levels: has(original ? 'input_blocks.11.0.in_layers.0.weight' : 'down_blocks.3.resnets.0.norm1.weight') ? 4 : 3,
      attention: has(original ? 'input_blocks.1.1.norm.weight' : 'down_blocks.0.attentions.0.norm.weight'),
      embedding: original
        ? has('label_emb.0.0.weight')
        : has('add_embedding.linear_1.weight') || has('class_embedding.linear_1.weight'),
      linear: projection?.shape.length === 2,
    }
  }
  return undefined
}
