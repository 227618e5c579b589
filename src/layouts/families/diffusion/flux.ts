/** Flux.1: names of Black Forest Labs, of ComfyUI, and of diffusers. */
import type { Facts, Family } from '../../types.js'
import { fluxTransformer, shapedSettings } from './configs.js'
import { diffusersRules, type Module, type ModuleRule, ONLY, originalRules } from './rules.js'
import { fitsVae, vaeModule } from './vae.js'

const BLOCK = 'double_blocks.{block}'
const INNER = 'transformer_blocks.{block}'
const SINGLE = 'single_blocks.{block}'
const SINGLE_INNER = 'single_transformer_blocks.{block}'

/** The two streams of a double block: names of attention, norms and MLP in diffusers. */
const STREAMS = {
  img: { qkv: ['to_q', 'to_k', 'to_v'], out: 'to_out.0', norms: ['norm_q', 'norm_k'], mod: 'norm1', mlp: 'ff' },
  txt: {
    qkv: ['add_q_proj', 'add_k_proj', 'add_v_proj'],
    ...{ out: 'to_add_out', norms: ['norm_added_q', 'norm_added_k'], mod: 'norm1_context', mlp: 'ff_context' },
  },
}

const double = Object.entries(STREAMS).flatMap(([stream, { qkv, out, norms, mod, mlp }]): ModuleRule[] => [
  [`${BLOCK}.${stream}_attn.qkv.{wb}`, { concat: qkv.map((part) => `${INNER}.attn.${part}.{wb}`), axis: 0 }],
  [`${BLOCK}.${stream}_attn.norm.query_norm.scale`, `${INNER}.attn.${norms[0]}.weight`],
  [`${BLOCK}.${stream}_attn.norm.key_norm.scale`, `${INNER}.attn.${norms[1]}.weight`],
  [`${BLOCK}.${stream}_attn.proj.{wb}`, `${INNER}.attn.${out}.{wb}`],
  [`${BLOCK}.${stream}_mod.lin.{wb}`, `${INNER}.${mod}.linear.{wb}`],
  [`${BLOCK}.${stream}_mlp.0.{wb}`, `${INNER}.${mlp}.net.0.proj.{wb}`],
  [`${BLOCK}.${stream}_mlp.2.{wb}`, `${INNER}.${mlp}.net.2.{wb}`],
])

/** The rows of query, key, value and MLP in `linear1`: its columns three times, and the rest. */
function linear1Rows({ shapes }: Facts): readonly number[] | { readonly tensor: string } {
  for (const [name, { shape }] of shapes) {
    const [rows, columns] = shape
    if (/(^|\.)single_blocks\.\d+\.linear1\.weight$/.test(name) && shape.length === 2)
      return [columns!, columns!, columns!, rows! - 3 * columns!]
    const mlp = /^(.*single_transformer_blocks\.\d+\.)proj_mlp\.weight$/.exec(name)
    const query = mlp && shapes.get(`${mlp[1]}attn.to_q.weight`)?.shape[0]
    if (query) return [query, query, query, rows!]
  }
  return { tensor: 'single_blocks.N.linear1.weight' }
}

const embedder = (original: string, diffusers: string): ModuleRule[] => [
  [`${original}.in_layer.{wb}`, `time_text_embed.${diffusers}.linear_1.{wb}`],
  [`${original}.out_layer.{wb}`, `time_text_embed.${diffusers}.linear_2.{wb}`],
]

const RULES: readonly ModuleRule[] = [
  ['img_in.{wb}', 'x_embedder.{wb}'],
  ['txt_in.{wb}', 'context_embedder.{wb}'],
  ...embedder('time_in', 'timestep_embedder'),
  ...embedder('vector_in', 'text_embedder'),
  ...embedder('guidance_in', 'guidance_embedder'),
  ...double,
  [
    `${SINGLE}.linear1.{wb}`,
    {
      concat: [
        ...['to_q', 'to_k', 'to_v'].map((part) => `${SINGLE_INNER}.attn.${part}.{wb}`),
        `${SINGLE_INNER}.proj_mlp.{wb}`,
      ],
      axis: 0,
      sizes: linear1Rows,
    },
  ],
  [`${SINGLE}.linear2.{wb}`, `${SINGLE_INNER}.proj_out.{wb}`],
  [`${SINGLE}.norm.query_norm.scale`, `${SINGLE_INNER}.attn.norm_q.weight`],
  [`${SINGLE}.norm.key_norm.scale`, `${SINGLE_INNER}.attn.norm_k.weight`],
  [`${SINGLE}.modulation.lin.{wb}`, `${SINGLE_INNER}.norm.linear.{wb}`],
  ['final_layer.linear.{wb}', 'proj_out.{wb}'],
  // The original splits the result in shift and scale, diffusers in scale and shift.
  ['final_layer.adaLN_modulation.1.{wb}', { swapHalves: 'norm_out.linear.{wb}', axis: 0 }],
]

const NETWORK: Module = { rules: RULES, original: 'model.diffusion_model.', diffusers: 'transformer.' }
const VAE = vaeModule('vae.', 'vae.')

const same = (original: string, diffusers: string, names: readonly string[]): Module => ({
  ...{ original, diffusers },
  rules: names.map((name): ModuleRule => [name, name]),
})

/** The text encoders, which have the same names in both. */
const TEXT: readonly Module[] = [
  same('text_encoders.clip_l.transformer.', 'text_encoder.', [
    'text_model.embeddings.token_embedding.weight',
    'text_model.embeddings.position_embedding.weight',
    'text_model.encoder.layers.{rest}',
    'text_model.final_layer_norm.{wb}',
  ]),
  same('text_encoders.t5xxl.transformer.', 'text_encoder_2.', [
    'shared.weight',
    'encoder.block.{rest}',
    'encoder.final_layer_norm.weight',
  ]),
]

const PREFIXES = ['model.diffusion_model.', 'transformer.', '']

export const flux: Family = {
  name: 'flux',
  title: 'Flux.1',
  types: [],
  byNames: true,
  isOne: (facts) =>
    PREFIXES.some((prefix) => {
      const has = (name: string): boolean => facts.shapes.has(`${prefix}${name}`)
      return (
        (has('vector_in.in_layer.weight') &&
          has('txt_in.weight') &&
          has('double_blocks.0.img_mod.lin.weight') &&
          has('single_blocks.0.linear1.weight')) ||
        (has('context_embedder.weight') &&
          has('time_text_embed.text_embedder.linear_1.weight') &&
          has('transformer_blocks.0.norm1_context.linear.weight') &&
          has('single_transformer_blocks.0.proj_mlp.weight'))
      )
    }) && fitsVae(facts, VAE.diffusers),
  forms: [
    {
      name: 'original',
      says: 'as released by Black Forest Labs: double_blocks.N, qkv in one tensor',
      rules: originalRules(NETWORK, ''),
      only: ONLY,
      storage: { kind: 'file' },
    },
    {
      name: 'comfyui',
      says: 'the original names under model.diffusion_model., alone or with vae. and text_encoders.',
      rules: [NETWORK, VAE, ...TEXT].flatMap((module) => originalRules(module)),
      only: ONLY,
      storage: { kind: 'file' },
    },
    {
      name: 'diffusers',
      says: 'a folder with modules: transformer, vae, text_encoder, text_encoder_2',
      rules: [NETWORK, VAE, ...TEXT].flatMap((module) => diffusersRules(module)),
      only: ONLY,
      storage: {
        kind: 'modules',
        modules: [NETWORK, VAE, ...TEXT].map(({ diffusers }) => diffusers.slice(0, -1)),
        said: shapedSettings,
      },
    },
    {
      name: 'transformer',
      says: 'a transformer of diffusers alone: transformer_blocks.N, qkv in parts',
      rules: diffusersRules(NETWORK, ''),
      only: ONLY,
      storage: { kind: 'module', module: 'transformer', config: fluxTransformer, said: shapedSettings },
    },
  ],
}
