import { groupedRows, headsIn, numberIn, settingsOf } from '../../facts.js'
import type { Counts, Facts, Family } from '../../types.js'
import { firstOf, hasOtherHeads, oldRotary, rewritten, rotaryOf, sameHeads } from './configs.js'

const LAYER = '{prefix}layers.{layer}'
const attention = ['q', 'k', 'v'].map((part) => `${LAYER}.self_attn.${part}_proj.{wb}`)

/** The heads of query that share a key and a value are followed by these. */
const groups = (facts: Facts): number | string => {
  const pairs = numberIn(settingsOf(facts), 'num_key_value_heads')
  return typeof pairs === 'number' ? pairs : headsIn(facts)
}
const sizes: Counts = (facts) => {
  const pairs = groups(facts)
  return typeof pairs === 'string' ? pairs : groupedRows(facts, pairs, pairs)
}

const asInternlm2 = rewritten({
  from: 'llama',
  to: 'internlm2',
  classes: sameHeads('Llama', 'InternLM2'),
  dropped: ['attention_bias', 'mlp_bias', 'head_dim', 'rope_parameters'],
  added: (config) => ({
    ...oldRotary(config),
    bias: config.attention_bias === true,
    auto_map: {
      AutoConfig: 'configuration_internlm2.InternLM2Config',
      AutoModel: 'modeling_internlm2.InternLM2ForCausalLM',
      AutoModelForCausalLM: 'modeling_internlm2.InternLM2ForCausalLM',
    },
  }),
  refused: (config) =>
    firstOf(
      [config.mlp_bias === true, 'the MLP of internlm2 has no biases'],
      [hasOtherHeads(config), 'the heads of internlm2 are as wide as the network together'],
      [
        !['default', 'dynamic', 'linear'].includes(rotaryOf(config).type),
        `internlm2 has no rotary embedding of the type "${rotaryOf(config).type}"`,
      ],
    ),
})

const asLlama = rewritten({
  from: 'internlm2',
  to: 'llama',
  classes: sameHeads('InternLM2', 'Llama'),
  dropped: ['bias', 'attn_implementation', 'auto_map'],
  added: (config) => ({ attention_bias: config.bias !== false, mlp_bias: false }),
})

export const internlm2: Family = {
  name: 'internlm2',
  title: 'InternLM2, InternLM2.5',
  types: ['internlm2'],
  forms: [
    {
      name: 'fused',
      says: 'attention.wqkv, feed_forward.w1, w3 and w2',
      rules: [
        { tensor: `${LAYER}.attention.wqkv.{wb}`, is: { concat: attention, axis: 0, groups, sizes } },
        { tensor: `${LAYER}.attention.wo.{wb}`, is: `${LAYER}.self_attn.o_proj.{wb}` },
        { tensor: `${LAYER}.feed_forward.w1.{wb}`, is: `${LAYER}.mlp.gate_proj.{wb}` },
        { tensor: `${LAYER}.feed_forward.w3.{wb}`, is: `${LAYER}.mlp.up_proj.{wb}` },
        { tensor: `${LAYER}.feed_forward.w2.{wb}`, is: `${LAYER}.mlp.down_proj.{wb}` },
        { tensor: `${LAYER}.attention_norm.weight`, is: `${LAYER}.input_layernorm.weight` },
        { tensor: `${LAYER}.ffn_norm.weight`, is: `${LAYER}.post_attention_layernorm.weight` },
        { tensor: '{prefix}tok_embeddings.weight', is: '{prefix}embed_tokens.weight' },
        { tensor: '{prefix}output.weight', is: '{prefix}lm_head.weight' },
      ],
      config: asInternlm2,
    },
    {
      name: 'parts',
      says: 'q_proj, k_proj, v_proj, gate_proj, up_proj and down_proj, as in Llama',
      rules: [],
      config: asLlama,
    },
  ],
}
