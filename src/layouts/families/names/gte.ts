import type { Family, LayoutRule } from '../../types.js'
import { renames } from '../renames.js'

/** The prefix of models with a head, and that of encoders alone: in a published checkpoint, and in transformers 5. */
const PREFIXES = { 'new.': 'gte.', '': '' }

function rules(now: string): LayoutRule[] {
  const [attention, mlp] = [`${now}layers.{layer}.self_attn`, `${now}layers.{layer}.mlp`]
  const released = `${Object.entries(PREFIXES).find(([, prefix]) => prefix === now)![0]}encoder.layer.{layer}`
  return [
    {
      tensor: `${released}.attention.qkv_proj.{wb}`,
      is: { concat: ['q', 'k', 'v'].map((part) => `${attention}.${part}_proj.{wb}`), axis: 0 },
    },
    // Up comes first.
    {
      tensor: `${released}.mlp.up_gate_proj.{wb}`,
      is: { concat: [`${mlp}.up_proj.{wb}`, `${mlp}.gate_proj.{wb}`], axis: 0 },
    },
    ...renames({
      [`${attention}.o_proj.{wb}`]: `${released}.attention.o_proj.{wb}`,
      [`${now}layers.{layer}.post_attention_layernorm.{wb}`]: `${released}.attn_ln.{wb}`,
      [`${now}layers.{layer}.post_mlp_layernorm.{wb}`]: `${released}.mlp_ln.{wb}`,
      [`${mlp}.down_proj.{wb}`]: `${released}.mlp.down_proj.{wb}`,
    }),
  ]
}

export const gte: Family = {
  name: 'gte',
  title: 'GTE',
  types: ['gte', 'new'],
  forms: [
    {
      name: 'released',
      says: 'encoder.layer.*, mlp.up_gate_proj with up first, attention.qkv_proj',
      rules: [
        ...Object.values(PREFIXES).flatMap(rules),
        ...renames({
          'gte.embeddings.{rest}': 'new.embeddings.{rest}',
          'gte.pooler.{rest}': 'new.pooler.{rest}',
          'lm_head.layer_norm.{wb}': 'lm_head.norm.{wb}',
        }),
      ],
    },
    { name: 'transformers-5', says: 'layers.*, self_attn.q_proj, mlp.gate_proj', rules: [] },
  ],
}
