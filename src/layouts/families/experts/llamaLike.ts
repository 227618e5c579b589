/** Experts with a gate, as in Llama: `gate_proj`, `up_proj` and `down_proj`. */
import type { Family, NamePattern } from '../../types.js'
import { type ExpertNames, LAYER, NUMBERED, orientedAs, PROJECTIONS, rows } from './shared.js'

interface Described extends Pick<Family, 'name' | 'title' | 'types'> {
  /** The module of the experts in a layer. */
  readonly at?: string
  readonly names?: ExpertNames
  /** Other tensors of a layer whose names differ: in a published checkpoint, and in transformers 5. */
  readonly renames?: Readonly<Record<string, string>>
}

/** One tensor per expert and matrix in published checkpoints, all experts in one tensor in transformers 5. */
function perExpert({ at = 'mlp', names = PROJECTIONS, renames = {}, ...family }: Described): Family {
  const experts: NamePattern = `${LAYER}.${at}.experts`
  return {
    ...family,
    forms: [
      { name: 'released', says: `one tensor per expert and matrix: ${at}.experts.0.${names.gate}`, rules: [] },
      {
        name: 'transformers-5',
        says: `all experts in one tensor: ${at}.experts.gate_up_proj [experts, 2 · intermediate, hidden]`,
        rules: [
          ...rows(experts, experts, names),
          ...Object.entries(renames).map(([released, now]) => ({
            tensor: `${LAYER}.${now}`,
            is: `${LAYER}.${released}`,
          })),
        ],
        fits: orientedAs(experts, 'rows'),
      },
    ],
  }
}

/** The model types without further differences. */
export const qwenMoe = perExpert({
  name: 'qwen2-moe',
  title:
    'Qwen2, Qwen3, Qwen3-Next, Qwen3.5 and Qwen3-Omni MoE, DeepSeek V2 and V3, GLM-4 MoE, OLMoE, dots.llm1, Hunyuan, ' +
    'Kimi K2, Command A, AFMoE, Solar Open, Mellum',
  types: [
    'afmoe',
    'cohere2_moe',
    'deepseek_v2',
    'deepseek_v3',
    'deepseek_v32',
    'dots1',
    'flex_olmo',
    'glm4_moe',
    'glm4_moe_lite',
    'glm4v_moe',
    'glm4v_moe_text',
    'glm_moe_dsa',
    'hunyuan_v1_moe',
    'kimi_k2',
    'kimi_k25',
    'mellum',
    'olmoe',
    'qwen2_moe',
    'qwen3_5_moe',
    'qwen3_5_moe_text',
    'qwen3_moe',
    'qwen3_next',
    'qwen3_omni_moe',
    'qwen3_omni_moe_text',
    'qwen3_omni_moe_thinker',
    'solar_open',
  ],
})

export const ernieMoe = perExpert({
  name: 'ernie4.5-moe',
  title: 'ERNIE 4.5 MoE',
  types: ['ernie4_5_moe'],
  renames: { 'mlp.moe_statics.e_score_correction_bias': 'mlp.gate.moe_statics.e_score_correction_bias' },
})

export const exaoneMoe = perExpert({
  name: 'exaone-moe',
  title: 'EXAONE MoE',
  types: ['exaone_moe'],
  renames: { 'mlp.e_score_correction_bias': 'mlp.gate.e_score_correction_bias' },
})

export const hunyuan3 = perExpert({
  name: 'hy-v3',
  title: 'Hunyuan 3',
  types: ['hy_v3'],
  renames: {
    'mlp.router.gate.weight': 'mlp.gate.weight',
    'mlp.expert_bias': 'mlp.e_score_correction_bias',
    'mlp.shared_mlp.{rest}': 'mlp.shared_experts.{rest}',
  },
})

export const laguna = perExpert({
  name: 'laguna',
  title: 'Laguna',
  types: ['laguna'],
  renames: {
    'mlp.experts.e_score_correction_bias': 'mlp.gate.e_score_correction_bias',
    'mlp.shared_expert.{rest}': 'mlp.shared_experts.{rest}',
  },
})

export const mimoFlash = perExpert({
  name: 'mimo-v2-flash',
  title: 'MiMo-V2-Flash',
  types: ['mimo_v2_flash'],
  renames: { 'self_attn.attention_sink_bias': 'self_attn.sinks' },
})

export const axk1 = perExpert({
  name: 'axk1',
  title: 'A.X-K1',
  types: ['axk1'],
  renames: { 'post_mlp_layernorm.weight': 'mlp.post_mlp_layernorm.weight' },
})

export const axk2 = perExpert({
  name: 'axk2',
  title: 'A.X-K2',
  types: ['axk2'],
  renames: {
    'input_layernorm.W_down.{wb}': 'input_layernorm.mlp.fc1.{wb}',
    'input_layernorm.W_up.{wb}': 'input_layernorm.mlp.fc2.{wb}',
    'post_attention_layernorm.W_down.{wb}': 'post_attention_layernorm.mlp.fc1.{wb}',
    'post_attention_layernorm.W_up.{wb}': 'post_attention_layernorm.mlp.fc2.{wb}',
    'self_attn.q_b_proj.{wb}': 'self_attn.q_gate_proj.{wb}',
  },
})

export const jamba = perExpert({ name: 'jamba', title: 'Jamba', types: ['jamba'], at: 'feed_forward' })

export const lfmMoe = perExpert({
  name: 'lfm2-moe',
  title: 'LFM2 MoE',
  types: ['lfm2_moe'],
  at: 'feed_forward',
  names: NUMBERED,
})
