/** The VAE of Stable Diffusion, SDXL and Flux. */
import type { Facts, Family, NamePattern } from '../../types.js'
import { shapedSettings } from './configs.js'
import { diffusersRules, type Module, type ModuleRule, ONLY, originalRules } from './rules.js'

const LEVELS = 4

/** The parts of a residual block. Numbers of norms and convolutions are the same in both. */
const resnet = (original: string, diffusers: string): ModuleRule[] => [
  [`${original}.norm{n}.{wb}`, `${diffusers}.norm{n}.{wb}`],
  [`${original}.conv{n}.{wb}`, `${diffusers}.conv{n}.{wb}`],
  [`${original}.nin_shortcut.{wb}`, `${diffusers}.conv_shortcut.{wb}`],
]

/** The matrices of the attention, which are convolutions [C, C, 1, 1] in original files. */
const MATRICES = { q: 'to_q', k: 'to_k', v: 'to_v', proj_out: 'to_out.0' }

/** Their names in diffusers before version 0.15. */
const OLD_NAMES: Readonly<Record<string, string>> = {
  to_q: 'query',
  to_k: 'key',
  to_v: 'value',
  'to_out.0': 'proj_attn',
}

function middle(half: string): ModuleRule[] {
  const [original, diffusers] = [`${half}.mid`, `${half}.mid_block`]
  const attention = `${diffusers}.attentions.0`
  return [
    ...resnet(`${original}.block_1`, `${diffusers}.resnets.0`),
    ...resnet(`${original}.block_2`, `${diffusers}.resnets.1`),
    [`${original}.attn_1.norm.{wb}`, `${attention}.group_norm.{wb}`],
    ...Object.entries(MATRICES).flatMap(([name, matrix]): ModuleRule[] => [
      [`${original}.attn_1.${name}.weight`, { expand: `${attention}.${matrix}.weight`, ones: 2 }],
      [`${original}.attn_1.${name}.bias`, `${attention}.${matrix}.bias`],
    ]),
  ]
}

const RULES: readonly ModuleRule[] = [
  ...['encoder', 'decoder'].flatMap((half): ModuleRule[] => [
    [`${half}.conv_in.{wb}`, `${half}.conv_in.{wb}`],
    ...middle(half),
    [`${half}.norm_out.{wb}`, `${half}.conv_norm_out.{wb}`],
    [`${half}.conv_out.{wb}`, `${half}.conv_out.{wb}`],
  ]),
  ...resnet('encoder.down.{level}.block.{layer}', 'encoder.down_blocks.{level}.resnets.{layer}'),
  ['encoder.down.{level}.downsample.conv.{wb}', 'encoder.down_blocks.{level}.downsamplers.0.conv.{wb}'],
  // Original files count the levels of the decoder from the highest, diffusers counts them in the order of computation.
  ...Array.from({ length: LEVELS }, (_, level): ModuleRule[] => [
    ...resnet(`decoder.up.${level}.block.{layer}`, `decoder.up_blocks.${LEVELS - 1 - level}.resnets.{layer}`),
    [`decoder.up.${level}.upsample.conv.{wb}`, `decoder.up_blocks.${LEVELS - 1 - level}.upsamplers.0.conv.{wb}`],
  ]).flat(),
  ['quant_conv.{wb}', 'quant_conv.{wb}'],
  ['post_quant_conv.{wb}', 'post_quant_conv.{wb}'],
]

export const vaeModule = (original: string, diffusers: string): Module => ({ rules: RULES, original, diffusers })

/** The name of an atom in diffusers before version 0.15. */
export const oldVaeName = (atom: NamePattern): NamePattern =>
  atom.replace(/(?<=mid_block\.attentions\.0\.)to_(q|k|v|out\.0)(?=\.)/, (name) => OLD_NAMES[name]!)

/** Whether a VAE under a prefix has the names of diffusers before version 0.15. */
export const isOldVae = ({ shapes }: Facts, prefix: string): boolean =>
  shapes.has(`${prefix}decoder.mid_block.attentions.0.query.weight`)

/** The levels of the decoder of a VAE: undefined if there is none, or none that the rules describe. */
function vaeLevels({ shapes }: Facts, prefix: string): number | undefined {
  for (const name of ['decoder.up.{level}.block.0.norm1.weight', 'decoder.up_blocks.{level}.resnets.0.norm1.weight']) {
    let level = 0
    while (shapes.has(`${prefix}${name.replace('{level}', String(level))}`)) level++
    if (level > 0) return level
  }
  return undefined
}

/** Whether the rules describe the VAE under a prefix, or there is none. */
export const fitsVae = (facts: Facts, prefix: string): boolean => (vaeLevels(facts, prefix) ?? LEVELS) === LEVELS

const alone = vaeModule('', 'vae.')

export const sdVae: Family = {
  name: 'sd-vae',
  title: 'VAE of Stable Diffusion, SDXL and Flux',
  types: [],
  byNames: true,
  isOne: (facts) => vaeLevels(facts, '') === LEVELS,
  forms: [
    {
      name: 'original',
      says: 'encoder.down.N.block.N, attention as convolutions',
      rules: originalRules(alone),
      only: ONLY,
      storage: { kind: 'file' },
    },
    {
      name: 'diffusers',
      says: 'encoder.down_blocks.N.resnets.N, attention as matrices',
      rules: diffusersRules(alone, ''),
      fits: (facts) => !isOldVae(facts, ''),
      only: ONLY,
      storage: { kind: 'module', module: 'vae', said: shapedSettings },
    },
    {
      name: 'diffusers-old',
      says: 'as in diffusers before 0.15: attention as query, key, value and proj_attn',
      rules: diffusersRules(alone, '', oldVaeName),
      fits: (facts) => isOldVae(facts, ''),
      only: ONLY,
      storage: { kind: 'module', module: 'vae', said: shapedSettings },
    },
  ],
}
