import type { Family } from '../../types.js'
import { firstOf, hasOtherHeads, isGrouped, rewritten, rotaryOf } from './configs.js'

const OLD = '{prefix}transformer.h.{layer}'
const LAYER = '{prefix}model.layers.{layer}'
const attention = ['q', 'k', 'v'].map((part) => `${LAYER}.self_attn.${part}_proj.{wb}`)

const half = (value: unknown): unknown => (typeof value === 'number' ? value / 2 : value)
const twice = (value: unknown): unknown => (typeof value === 'number' ? value * 2 : value)

const asQwen2 = rewritten({
  from: 'qwen',
  to: 'qwen2',
  classes: { QWenLMHeadModel: 'Qwen2ForCausalLM', QWenModel: 'Qwen2Model' },
  renamed: {
    attn_dropout_prob: 'attention_dropout',
    layer_norm_epsilon: 'rms_norm_eps',
    rotary_emb_base: 'rope_theta',
    seq_length: 'max_position_embeddings',
  },
  dropped: [
    ...['auto_map', 'bf16', 'fp16', 'fp32', 'emb_dropout_prob', 'kv_channels', 'max_position_embeddings', 'no_bias'],
    ...['onnx_safe', 'rotary_pct', 'scale_attn_weights', 'softmax_in_fp32', 'tokenizer_class', 'use_cache_kernel'],
    ...['use_cache_quantization', 'use_dynamic_ntk', 'use_flash_attn', 'use_logn_attn', 'tokenizer_type'],
  ],
  added: (config) => ({
    hidden_act: 'silu',
    // It counted gate and up together.
    intermediate_size: half(config.intermediate_size),
    num_key_value_heads: config.num_attention_heads,
    use_sliding_window: false,
  }),
  refused: (config) =>
    firstOf(
      [config.visual !== undefined, 'qwen2 has no place for the vision model of Qwen-VL'],
      [config.no_bias === false, 'the MLP of qwen2 has no biases'],
      [config.scale_attn_weights === false, 'qwen2 scales attention'],
      [(config.rotary_pct ?? 1) !== 1, 'qwen2 rotates whole heads, but rotary_pct is not 1'],
      [
        hasOtherHeads({ ...config, head_dim: config.kv_channels }),
        'kv_channels is not the size of a head that qwen2 would have',
      ],
    ),
})

const asQwen = rewritten({
  from: 'qwen2',
  to: 'qwen',
  classes: { Qwen2ForCausalLM: 'QWenLMHeadModel', Qwen2Model: 'QWenModel' },
  renamed: {
    attention_dropout: 'attn_dropout_prob',
    rms_norm_eps: 'layer_norm_epsilon',
    max_position_embeddings: 'seq_length',
  },
  dropped: [
    ...['hidden_act', 'num_key_value_heads', 'use_sliding_window', 'sliding_window', 'max_window_layers'],
    ...['layer_types', 'rope_parameters', 'rope_theta', 'rope_scaling', 'head_dim'],
  ],
  added: (config) => ({
    intermediate_size: twice(config.intermediate_size),
    max_position_embeddings: config.max_position_embeddings,
    rotary_emb_base: rotaryOf(config).theta,
    rotary_pct: 1,
    kv_channels: Number(config.hidden_size) / Number(config.num_attention_heads),
    no_bias: true,
    auto_map: { AutoConfig: 'configuration_qwen.QWenConfig', AutoModelForCausalLM: 'modeling_qwen.QWenLMHeadModel' },
  }),
  refused: (config) =>
    firstOf(
      [isGrouped(config), 'qwen has one key and value per head'],
      [hasOtherHeads(config), 'the heads of qwen are as wide as the network together'],
      [config.use_sliding_window === true, 'qwen has no sliding window'],
      [rotaryOf(config).type !== 'default', `qwen has no rotary embedding of the type "${rotaryOf(config).type}"`],
    ),
})

/** The first generation of Qwen. Its parts are those of Qwen2. Of its MLP, w2 is the gate. */
export const qwen: Family = {
  name: 'qwen',
  title: 'Qwen (first generation)',
  types: ['qwen'],
  forms: [
    {
      name: 'fused',
      says: 'transformer.h.N.attn.c_attn, mlp.w1 (up) and mlp.w2 (gate)',
      rules: [
        { tensor: `${OLD}.attn.c_attn.{wb}`, is: { concat: attention, axis: 0 } },
        { tensor: `${OLD}.attn.c_proj.{wb}`, is: `${LAYER}.self_attn.o_proj.{wb}` },
        { tensor: `${OLD}.mlp.w2.{wb}`, is: `${LAYER}.mlp.gate_proj.{wb}` },
        { tensor: `${OLD}.mlp.w1.{wb}`, is: `${LAYER}.mlp.up_proj.{wb}` },
        { tensor: `${OLD}.mlp.c_proj.{wb}`, is: `${LAYER}.mlp.down_proj.{wb}` },
        { tensor: `${OLD}.ln_1.weight`, is: `${LAYER}.input_layernorm.weight` },
        { tensor: `${OLD}.ln_2.weight`, is: `${LAYER}.post_attention_layernorm.weight` },
        { tensor: '{prefix}transformer.wte.weight', is: '{prefix}model.embed_tokens.weight' },
        { tensor: '{prefix}transformer.ln_f.weight', is: '{prefix}model.norm.weight' },
      ],
      config: asQwen,
    },
    { name: 'parts', says: 'model.layers.N.self_attn.q_proj and so on, as in Qwen2', rules: [], config: asQwen2 },
  ],
}
