/** Experts that published checkpoints store in one tensor, with columns. Other tools write them one by one. */
import type { Family, FamilyForm } from '../../types.js'
import { biases, columns, LAYER, orientedAs, rows } from './shared.js'

const LLAMA4 = `${LAYER}.feed_forward.experts`
const OTHERS = `${LAYER}.mlp.experts`

const parts = (at: string): FamilyForm => ({
  name: 'parts',
  says: `one tensor per expert and matrix: ${at}.experts.0.gate_proj`,
  rules: [],
})

const COLUMNS = 'experts.gate_up_proj [experts, hidden, 2 · intermediate]'

export const llama4: Family = {
  name: 'llama4',
  title: 'Llama 4',
  types: ['llama4', 'llama4_text'],
  forms: [
    {
      name: 'fused',
      says: `all experts in one tensor: feed_forward.${COLUMNS}, the gate's columns first`,
      rules: columns(LLAMA4, 'halves'),
      fits: orientedAs(LLAMA4, 'columns'),
    },
    parts('feed_forward'),
  ],
}

export const gptOss: Family = {
  name: 'gpt-oss',
  title: 'gpt-oss',
  types: ['gpt_oss'],
  forms: [
    {
      name: 'fused',
      says: `all experts in one tensor: mlp.${COLUMNS}, columns of gate and up in turn`,
      rules: [...columns(OTHERS, 'in turn'), ...biases(OTHERS)],
      fits: orientedAs(OTHERS, 'columns'),
    },
    parts('mlp'),
  ],
}

export const qwenVlMoe: Family = {
  name: 'qwen3-vl-moe',
  title: 'Qwen3-VL MoE',
  types: ['qwen3_vl_moe', 'qwen3_vl_moe_text'],
  forms: [
    {
      name: 'released',
      says: `all experts in one tensor: mlp.${COLUMNS}, the gate's columns first`,
      rules: columns(OTHERS, 'halves'),
      fits: orientedAs(OTHERS, 'columns'),
    },
    {
      name: 'transformers-5',
      says: 'all experts in one tensor: mlp.experts.gate_up_proj [experts, 2 · intermediate, hidden]',
      rules: rows(OTHERS, OTHERS),
      fits: orientedAs(OTHERS, 'rows'),
    },
    parts('mlp'),
  ],
}
