/**
 * The names that sd-scripts gives to modules of Stable Diffusion: `lora_unet_` or `lora_te_`, and the module's name with `_` for
 * each dot. With two text encoders they are `lora_te1_` and `lora_te2_`, and modules of the U-Net have the names of the
 * original files.
 */

/** Parts of a pipeline, as they stand before names of modules. */
const UNET = /^unet\.|^(?=(down_blocks|up_blocks|mid_block|conv_in|conv_out|time_embedding|add_embedding)\.)/
const FIRST_ENCODER = /^text_encoder\.|^(?=text_model\.)/
const SECOND_ENCODER = /^text_encoder_2\./
/** Flux in its original form, which sd-scripts reads. */
const FLUX = /^(?=(double_blocks|single_blocks|img_in|txt_in|time_in|vector_in|guidance_in|final_layer)\.)/

/** Modules inside a block of residual layers: in diffusers, and in the original files. */
const RESNET: readonly (readonly [string, string])[] = [
  ['conv1', 'in_layers.2'],
  ['conv2', 'out_layers.3'],
  ['time_emb_proj', 'emb_layers.1'],
  ['conv_shortcut', 'skip_connection'],
]
const OUTSIDE: readonly (readonly [RegExp, string])[] = [
  [/^time_embedding\.linear_1$/, 'time_embed.0'],
  [/^time_embedding\.linear_2$/, 'time_embed.2'],
  [/^add_embedding\.linear_1$/, 'label_emb.0.0'],
  [/^add_embedding\.linear_2$/, 'label_emb.0.2'],
  [/^conv_in$/, 'input_blocks.0.0'],
  [/^conv_out$/, 'out.2'],
  [/^mid_block\.attentions\.0\./, 'middle_block.1.'],
  [/^mid_block\.resnets\.0\./, 'middle_block.0.'],
  [/^mid_block\.resnets\.1\./, 'middle_block.2.'],
]

/** The name of a module of SDXL's U-Net in the original files. Undefined if it has none. */
function originalName(module: string): string | undefined {
  const [, side, block, kind, place, rest = ''] =
    /^(down|up)_blocks\.(\d+)\.(attentions|resnets|downsamplers|upsamplers)\.(\d+)\.(.+)$/.exec(module) ?? []
  const inner = kind === 'resnets' ? RESNET.find(([own]) => own === rest)?.[1] : rest
  if (side !== undefined) {
    const [i, j] = [Number(block), Number(place)]
    if (kind === 'downsamplers') return `input_blocks.${3 * (i + 1)}.0.op`
    if (kind === 'upsamplers') return `output_blocks.${3 * i + 2}.2.${rest}`
    const within = kind === 'attentions' ? 1 : 0
    const outer = side === 'down' ? `input_blocks.${3 * i + j + 1}` : `output_blocks.${3 * i + j}`
    return inner === undefined ? undefined : `${outer}.${within}.${inner}`
  }
  const found = OUTSIDE.find(([own]) => own.test(module))
  if (!found) return undefined
  const [own, other] = found
  const name = module.replace(own, other)
  const last = RESNET.find(([end]) => name.endsWith(`.${end}`))
  return last && module.startsWith('mid_block.resnets.') ? `${name.slice(0, -last[0].length)}${last[1]}` : name
}

/** Names of sd-scripts that show how modules are called: those of SDXL, and those of other networks. */
const SHOWS = {
  original: /^lora_unet_(input_blocks|middle_block|output_blocks|time_embed|label_emb)_/,
  plain: /^lora_unet_(down_blocks|mid_block|up_blocks|time_embedding)_/,
  numbered: /^lora_te[12]_/,
  single: /^lora_te_/,
} as const

/**
 * By module: its name in sd-scripts. Undefined for a module that has none there. `beside`: names of another adapter for the same
 * network, which show whether it is SDXL.
 */
export function kohyaNames(
  modules: readonly string[],
  beside: readonly string[] = [],
): ReadonlyMap<string, string | undefined> {
  const bare = modules.map((module) => module.replace(UNET, ''))
  // Only SDXL has several transformers in a block, and only it has these parts.
  const byModules = modules.some(
    (module, i) =>
      SECOND_ENCODER.test(module) ||
      (bare[i] !== module && /\.transformer_blocks\.[1-9]\d*\.|^add_embedding\./.test(bare[i]!)),
  )
  const shows = (yes: RegExp, no: RegExp): boolean =>
    beside.some((name) => yes.test(name)) || (byModules && !beside.some((name) => no.test(name)))
  const [isOriginal, isNumbered] = [shows(SHOWS.original, SHOWS.plain), shows(SHOWS.numbered, SHOWS.single)]
  const flat = (prefix: string, name: string | undefined): string | undefined =>
    name === undefined ? undefined : `${prefix}_${name.replaceAll('.', '_')}`
  return new Map(
    modules.map((module) => {
      const own = (part: RegExp): string => module.replace(part, '')
      if (UNET.test(module)) return [module, flat('lora_unet', isOriginal ? originalName(own(UNET)) : own(UNET))]
      if (SECOND_ENCODER.test(module)) return [module, flat('lora_te2', own(SECOND_ENCODER))]
      if (FIRST_ENCODER.test(module)) return [module, flat(isNumbered ? 'lora_te1' : 'lora_te', own(FIRST_ENCODER))]
      if (FLUX.test(module)) return [module, flat('lora_unet', module)]
      return [module, /^(lora_(unet|te\d?|transformer)|lycoris)_/.test(module) ? module : undefined]
    }),
  )
}
