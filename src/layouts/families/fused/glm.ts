import { attentionRows, groupedRows, headsIn, numberIn, settingsOf } from '../../facts.js'
import type { Counts, Family, Settings } from '../../types.js'
import { firstOf, rewritten, rotaryOf } from './configs.js'

const OLD = '{prefix}transformer.encoder.layers.{layer}'
const LAYER = '{prefix}model.layers.{layer}'
const attention = ['q', 'k', 'v'].map((part) => `${LAYER}.self_attn.${part}_proj.{wb}`)

/** Its configuration is that of the remote code, or that of transformers. */
const sizes: Counts = (facts) => {
  const config = settingsOf(facts)
  if (config?.num_key_value_heads !== undefined) return attentionRows(facts)
  const heads = headsIn(facts)
  if (typeof heads === 'string') return heads
  if (config?.multi_query_attention !== true) return groupedRows(facts, 1, heads)
  const pairs = numberIn(config, 'multi_query_group_num')
  return typeof pairs === 'string' ? pairs : groupedRows(facts, 1, pairs)
}

/** The vocabulary of ChatGLM2 and ChatGLM3. */
const OLD_VOCABULARY = 65024
const theta = (config: Settings): number => 10000 * (typeof config.rope_ratio === 'number' ? config.rope_ratio : 1)

const CLASSES = { ChatGLMModel: 'GlmForCausalLM', ChatGLMForConditionalGeneration: 'GlmForCausalLM' }
const unclear =
  'a rope_ratio meant something else in ChatGLM2 than in ChatGLM3, and the configuration does not say which it is'

const asGlm = rewritten({
  from: 'chatglm',
  to: 'glm',
  classes: { ...CLASSES, ChatGLMForSequenceClassification: 'GlmForSequenceClassification' },
  renamed: {
    ffn_hidden_size: 'intermediate_size',
    kv_channels: 'head_dim',
    layernorm_epsilon: 'rms_norm_eps',
    num_layers: 'num_hidden_layers',
    padded_vocab_size: 'vocab_size',
    seq_length: 'max_position_embeddings',
    add_qkv_bias: 'attention_bias',
  },
  dropped: [
    ...['auto_map', 'vocab_size', 'add_bias_linear', 'apply_query_key_layer_scaling', 'attention_softmax_in_fp32'],
    ...[
      'apply_residual_connection_post_layernorm',
      'bias_dropout_fusion',
      'fp32_residual_connection',
      'hidden_dropout',
    ],
    ...['multi_query_attention', 'multi_query_group_num', 'original_rope', 'post_layer_norm', 'pre_seq_len'],
    ...['prefix_projection', 'quantization_bit', 'rmsnorm', 'rope_ratio', 'classifier_dropout', 'interleaved_qkv'],
  ],
  added: (config) => ({
    hidden_act: 'silu',
    num_key_value_heads:
      config.multi_query_attention === true ? config.multi_query_group_num : config.num_attention_heads,
    partial_rotary_factor: 0.5,
    rope_theta: theta(config),
    tie_word_embeddings: config.tie_word_embeddings ?? false,
  }),
  refused: (config) =>
    firstOf(
      [config.padded_vocab_size === undefined, 'the first generation of ChatGLM is another network than glm'],
      [config.add_bias_linear === true, 'glm has biases only in query, key and value'],
      [config.rmsnorm === false || config.post_layer_norm === false, 'glm has RMS norms, also after the last layer'],
      [config.apply_residual_connection_post_layernorm === true, 'the residuals of glm are from before the norms'],
      [theta(config) !== 10000 && config.padded_vocab_size === OLD_VOCABULARY, unclear],
    ),
})

const asChatglm = rewritten({
  from: 'glm',
  to: 'chatglm',
  classes: { GlmForCausalLM: 'ChatGLMForConditionalGeneration' },
  renamed: {
    intermediate_size: 'ffn_hidden_size',
    head_dim: 'kv_channels',
    rms_norm_eps: 'layernorm_epsilon',
    num_hidden_layers: 'num_layers',
    vocab_size: 'padded_vocab_size',
    max_position_embeddings: 'seq_length',
    attention_bias: 'add_qkv_bias',
    num_key_value_heads: 'multi_query_group_num',
  },
  dropped: ['hidden_act', 'partial_rotary_factor', 'rope_parameters', 'rope_theta', 'rope_scaling'],
  added: (config) => ({
    multi_query_attention: true,
    add_bias_linear: false,
    apply_residual_connection_post_layernorm: false,
    original_rope: true,
    post_layer_norm: true,
    rmsnorm: true,
    rope_ratio: Number(rotaryOf(config).theta) / 10000,
    auto_map: {
      AutoConfig: 'configuration_chatglm.ChatGLMConfig',
      AutoModel: 'modeling_chatglm.ChatGLMForConditionalGeneration',
      AutoModelForCausalLM: 'modeling_chatglm.ChatGLMForConditionalGeneration',
    },
  }),
  refused: (config) => {
    const { type, share = 0.5, theta } = rotaryOf(config)
    return firstOf(
      [type !== 'default', `chatglm has no rotary embedding of the type "${type}"`],
      [share !== 0.5, 'chatglm rotates half of each head, but partial_rotary_factor is not 0.5'],
      [theta !== 10000 && config.vocab_size === OLD_VOCABULARY, unclear],
    )
  },
})

const same = ['input_layernorm', 'post_attention_layernorm']

/** ChatGLM2, ChatGLM3 and GLM-4 with the names of their own code, and with those of transformers. */
export const chatglm: Family = {
  name: 'chatglm',
  title: 'ChatGLM2, ChatGLM3, GLM-4',
  types: ['chatglm', 'glm'],
  forms: [
    {
      name: 'fused',
      says: 'transformer.encoder.layers.N.self_attention.query_key_value',
      rules: [
        { tensor: `${OLD}.self_attention.query_key_value.{wb}`, is: { concat: attention, axis: 0, sizes } },
        { tensor: `${OLD}.self_attention.dense.{wb}`, is: `${LAYER}.self_attn.o_proj.{wb}` },
        { tensor: `${OLD}.mlp.dense_h_to_4h.{wb}`, is: `${LAYER}.mlp.gate_up_proj.{wb}` },
        { tensor: `${OLD}.mlp.dense_4h_to_h.{wb}`, is: `${LAYER}.mlp.down_proj.{wb}` },
        ...same.map((norm) => ({ tensor: `${OLD}.${norm}.weight`, is: `${LAYER}.${norm}.weight` })),
        { tensor: '{prefix}transformer.embedding.word_embeddings.weight', is: '{prefix}model.embed_tokens.weight' },
        { tensor: '{prefix}transformer.encoder.final_layernorm.weight', is: '{prefix}model.norm.weight' },
        { tensor: '{prefix}transformer.output_layer.weight', is: '{prefix}lm_head.weight' },
      ],
      // Computed from the configuration.
      only: ['{prefix}transformer.rotary_pos_emb.inv_freq'],
      config: asChatglm,
    },
    {
      name: 'parts',
      says: 'model.layers.N.self_attn.q_proj, k_proj and v_proj; mlp.gate_up_proj, as in transformers',
      rules: [],
      config: asGlm,
    },
  ],
}
