import type { Family, Form, LayoutRule } from '../../types.js'
import { renames } from '../renames.js'
import { hasOneOf } from '../signs.js'

const RELEASED = 'model.llm.layers.{layer}'
const NOW = 'model.language_model.layers.{layer}'

/** Gate and up, whose rows along `axis` take turns in a published checkpoint. */
const both = (at: string, end: string): readonly Form[] => [`${at}.gate_proj${end}`, `${at}.up_proj${end}`]
const inTurn = (tensor: string, parts: readonly Form[], axis: number): LayoutRule => ({
  tensor: `${RELEASED}.${tensor}`,
  is: { concat: parts, axis, groups: 'in turn' },
})

/** The two halves of `gate_up_proj` of all experts, under names that no file has. */
const experts = both(`${NOW}.mlp.experts`, '')

const layer: Readonly<Record<string, string>> = {
  'attn.wq_du.weight': 'self_attn.q_proj.weight',
  'attn.wk_dv.weight': 'self_attn.k_proj.weight',
  'attn.wv_dv.weight': 'self_attn.v_proj.weight',
  'attn.wr_du.weight': 'self_attn.r_proj.weight',
  'attn.wo_ud.weight': 'self_attn.o_proj.weight',
  'attn.q_norm.weight': 'self_attn.q_norm.weight',
  'attn.k_norm.weight': 'self_attn.k_norm.weight',
  'attn.k_sconv.weight': 'self_attn.k_sconv.conv1d.weight',
  'attn.v_sconv.weight': 'self_attn.v_sconv.conv1d.weight',
  'attn.rel_logits_proj.{rest}': 'self_attn.rel_logits_proj.{rest}',
  'attn_sconv.weight': 'attn_sconv.conv1d.weight',
  'mlp_sconv.weight': 'mlp_sconv.conv1d.weight',
  'attn_norm.weight': 'input_layernorm.weight',
  'mlp_norm.weight': 'post_attention_layernorm.weight',
  'mlp.global_scale': 'mlp.global_scale',
  'mlp.w2_md.weight': 'mlp.down_proj.weight',
  'mlp.gate.weight': 'mlp.gate.weight',
  'mlp.gate.global_scale': 'mlp.gate.global_scale',
  'mlp.gate.bias': 'mlp.gate.e_score_correction_bias',
  'mlp.experts.w2_weight': 'mlp.experts.down_proj',
  'mlp.shared_experts.shared_w2_weight': 'mlp.shared_experts.down_proj',
}

export const inkling: Family = {
  name: 'inkling',
  title: 'Inkling',
  types: ['inkling_mm_model'],
  isOne: hasOneOf('model.llm.{rest}', `${NOW}.self_attn.r_proj.weight`),
  forms: [
    {
      name: 'released',
      says: 'model.llm.*, rows of gate and up in turn: mlp.experts.w13_weight',
      rules: [
        inTurn('mlp.experts.w13_weight', experts, 1),
        inTurn('mlp.shared_experts.shared_w13_weight', both(`${NOW}.mlp.shared_experts`, ''), 1),
        inTurn('mlp.w13_dn.weight', both(`${NOW}.mlp`, '.weight'), 0),
      ],
    },
    {
      name: 'transformers-5',
      says: "model.language_model.*, the gate's rows first: mlp.experts.gate_up_proj",
      rules: [
        { tensor: `${NOW}.mlp.experts.gate_up_proj`, is: { concat: experts, axis: 1 } },
        ...renames({
          ...Object.fromEntries(
            Object.entries(layer).map(([released, now]) => [`${RELEASED}.${released}`, `${NOW}.${now}`]),
          ),
          'model.llm.embed.weight': 'model.language_model.embed_tokens.weight',
          'model.llm.embed_norm.weight': 'model.language_model.embed_tokens.embed_norm.weight',
          'model.llm.norm.weight': 'model.language_model.norm.weight',
          'model.llm.unembed.weight': 'lm_head.weight',
          'model.audio.encoder.weight': 'model.audio_tower.embed_audio_tokens.embed_audio_tokens.weight',
          'model.audio.final_norm.weight': 'model.audio_tower.norm.weight',
          'model.visual.layers.linear_{layer}.{wb}': 'model.vision_tower.encoder_layers.{layer}.projection.{wb}',
          'model.visual.layers.norm_{layer}.{wb}': 'model.vision_tower.encoder_layers.{layer}.layer_norm.{wb}',
          'model.visual.final_norm.{wb}': 'model.vision_tower.final_norm.{wb}',
        }),
      ],
    },
  ],
}
