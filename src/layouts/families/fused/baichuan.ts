import { fusedAttention, PROJECTIONS } from './attention.js'
import { firstOf, hasOtherHeads, isGrouped, rewritten, rotaryOf } from './configs.js'

const MODEL_CLASSES = { LlamaForCausalLM: 'BaiChuanForCausalLM', LlamaModel: 'BaiChuanModel' }

const asLlama = rewritten({
  from: 'baichuan',
  to: 'llama',
  classes: {
    BaiChuanForCausalLM: 'LlamaForCausalLM',
    BaichuanForCausalLM: 'LlamaForCausalLM',
    BaiChuanModel: 'LlamaModel',
    BaichuanModel: 'LlamaModel',
  },
  dropped: ['auto_map', 'model_max_length', 'gradient_checkpointing', '_from_model_config'],
  added: () => ({ attention_bias: false, mlp_bias: false }),
  refused: (config) =>
    firstOf(
      [
        config.max_position_embeddings === undefined,
        'llama has rotary embeddings, but a Baichuan without max_position_embeddings has ALiBi',
      ],
      [
        config.z_loss_weight !== undefined,
        'llama uses the head as it is, but Baichuan 2 normalizes the rows of lm_head first',
      ],
    ),
})

const asBaichuan = rewritten({
  from: 'llama',
  to: 'baichuan',
  classes: MODEL_CLASSES,
  dropped: ['attention_bias', 'mlp_bias', 'pretraining_tp', 'num_key_value_heads', 'head_dim', 'rope_parameters'],
  added: () => ({
    auto_map: {
      AutoConfig: 'configuration_baichuan.BaiChuanConfig',
      AutoModelForCausalLM: 'modeling_baichuan.BaiChuanForCausalLM',
    },
  }),
  refused: (config) =>
    firstOf(
      [config.attention_bias === true || config.mlp_bias === true, 'baichuan has no biases'],
      [isGrouped(config), 'baichuan has one key and value per head'],
      [hasOtherHeads(config), 'the heads of baichuan are as wide as the network together'],
      [
        rotaryOf(config).type !== 'default' || rotaryOf(config).theta !== 10000,
        'baichuan has a rotary embedding with theta 10000 and no scaling',
      ],
    ),
})

export const baichuan = fusedAttention({
  name: 'baichuan',
  title: 'Baichuan, Baichuan 2',
  types: ['baichuan'],
  module: '{prefix}layers.{layer}.self_attn',
  fused: 'W_pack',
  parts: PROJECTIONS,
  configs: { fused: asBaichuan, parts: asLlama },
})
