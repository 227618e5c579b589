/** Text encoders of diffusion models: CLIP of transformers, and OpenCLIP. */
import type { LayoutRule } from '../../types.js'
import type { Module, ModuleRule } from './rules.js'

/** CLIP has the same names in both. `position_ids` counts from 0 and is not stored today. */
export const clipModule = (original: string, diffusers: string): Module => ({
  ...{ original, diffusers },
  rules: [
    'text_model.embeddings.token_embedding.weight',
    'text_model.embeddings.position_embedding.weight',
    'text_model.encoder.layers.{rest}',
    'text_model.final_layer_norm.{wb}',
  ].map((name): ModuleRule => [name, name]),
})

const BLOCK = 'transformer.resblocks.{layer}'
const LAYER = 'text_model.encoder.layers.{layer}'
const parts = (kind: 'weight' | 'bias') => ['q', 'k', 'v'].map((part) => `${LAYER}.self_attn.${part}_proj.${kind}`)

const OPEN_CLIP: readonly ModuleRule[] = [
  ['token_embedding.weight', 'text_model.embeddings.token_embedding.weight'],
  ['positional_embedding', 'text_model.embeddings.position_embedding.weight'],
  [`${BLOCK}.attn.in_proj_weight`, { concat: parts('weight'), axis: 0 }],
  [`${BLOCK}.attn.in_proj_bias`, { concat: parts('bias'), axis: 0 }],
  [`${BLOCK}.attn.out_proj.{wb}`, `${LAYER}.self_attn.out_proj.{wb}`],
  [`${BLOCK}.ln_1.{wb}`, `${LAYER}.layer_norm1.{wb}`],
  [`${BLOCK}.ln_2.{wb}`, `${LAYER}.layer_norm2.{wb}`],
  [`${BLOCK}.mlp.c_fc.{wb}`, `${LAYER}.mlp.fc1.{wb}`],
  [`${BLOCK}.mlp.c_proj.{wb}`, `${LAYER}.mlp.fc2.{wb}`],
  ['ln_final.{wb}', 'text_model.final_layer_norm.{wb}'],
]

/** `projection`: the model has a projection, which OpenCLIP multiplies from the right. */
export const openClipModule = (original: string, diffusers: string, projection: boolean): Module => ({
  ...{ original, diffusers },
  rules: projection ? [...OPEN_CLIP, ['text_projection', { transpose: 'text_projection.weight' }]] : OPEN_CLIP,
})

/** Stable Diffusion 2 uses the output of the last layer but one, so diffusers does not store the last one (23). */
export const UNUSED_LAYER: LayoutRule = {
  tensor: 'cond_stage_model.model.transformer.resblocks.23.{rest}',
  is: 'cond_stage_model.model.transformer.resblocks.23.{rest}',
}
