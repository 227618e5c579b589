import { attentionRows } from '../../facts.js'
import type { Family } from '../../types.js'
import { firstOf, rewritten, rotaryOf, sameHeads, wholeRotary } from './configs.js'

const LAYER = '{prefix}layers.{layer}'
const attention = ['q', 'k', 'v'].map((part) => `${LAYER}.self_attn.${part}_proj.{wb}`)
const gates = ['gate', 'up'].map((part) => `${LAYER}.mlp.${part}_proj.{wb}`)

/** Attention sees all tokens that the model has positions for. */
const isSliding = (window: unknown, positions: unknown): boolean =>
  typeof window === 'number' && !(typeof positions === 'number' && window >= positions)

const asPhi3 = rewritten({
  from: 'llama',
  to: 'phi3',
  classes: sameHeads('Llama', 'Phi3'),
  dropped: ['attention_bias', 'mlp_bias', 'pretraining_tp', 'auto_map'],
  added: ({ max_position_embeddings: positions = 2048, ...config }) => ({
    // Settings that default to other values.
    max_position_embeddings: positions,
    original_max_position_embeddings: positions,
    rms_norm_eps: config.rms_norm_eps ?? 1e-6,
    bos_token_id: config.bos_token_id ?? 1,
    eos_token_id: config.eos_token_id ?? 2,
    pad_token_id: config.pad_token_id ?? null,
    sliding_window: null,
  }),
  refused: (config) =>
    firstOf(
      [config.attention_bias === true || config.mlp_bias === true, 'phi3 has no biases'],
      [rotaryOf(config).type !== 'default', `phi3 has no rotary embedding of the type "${rotaryOf(config).type}"`],
    ),
})

const asLlama = rewritten({
  from: 'phi3',
  to: 'llama',
  classes: sameHeads('Phi3', 'Llama'),
  dropped: [
    'resid_pdrop',
    'embd_pdrop',
    'original_max_position_embeddings',
    'sliding_window',
    'partial_rotary_factor',
    'auto_map',
  ],
  added: (config) => ({
    max_position_embeddings: config.max_position_embeddings ?? 4096,
    rms_norm_eps: config.rms_norm_eps ?? 1e-5,
    bos_token_id: config.bos_token_id ?? 1,
    eos_token_id: config.eos_token_id ?? 32000,
    pad_token_id: config.pad_token_id === undefined ? 32000 : config.pad_token_id,
    attention_bias: false,
    mlp_bias: false,
    ...wholeRotary(config),
  }),
  refused: (config) =>
    firstOf(
      [rotaryOf(config).type !== 'default', `llama has no rotary embedding of the type "${rotaryOf(config).type}"`],
      [(rotaryOf(config).share ?? 1) !== 1, 'llama rotates whole heads, but partial_rotary_factor is not 1'],
      [
        isSliding(config.sliding_window, config.max_position_embeddings ?? 4096),
        `llama has no sliding window, but sliding_window is ${config.sliding_window}`,
      ],
    ),
})

export const phi3: Family = {
  name: 'phi3',
  title: 'Phi-3, Phi-4',
  types: ['phi3'],
  forms: [
    {
      name: 'fused',
      says: 'qkv_proj and gate_up_proj',
      rules: [
        { tensor: `${LAYER}.self_attn.qkv_proj.{wb}`, is: { concat: attention, axis: 0, sizes: attentionRows } },
        { tensor: `${LAYER}.mlp.gate_up_proj.{wb}`, is: { concat: gates, axis: 0 } },
      ],
      config: asPhi3,
    },
    {
      name: 'parts',
      says: 'q_proj, k_proj, v_proj, gate_proj and up_proj, as in Llama',
      rules: [],
      config: asLlama,
    },
  ],
}

/** GLM models of transformers: attention is apart, and only gate and up are in one tensor. */
export const gateUp: Family = {
  name: 'gate-up',
  title: 'GLM, GLM-4: gate and up',
  types: ['glm', 'glm4', 'glm4v_text', 'glm_ocr_text', 'glm_image_text'],
  forms: [
    {
      name: 'fused',
      says: 'gate_up_proj',
      rules: [{ tensor: `${LAYER}.mlp.gate_up_proj.{wb}`, is: { concat: gates, axis: 0 } }],
    },
    { name: 'parts', says: 'gate_proj and up_proj', rules: [] },
  ],
}
