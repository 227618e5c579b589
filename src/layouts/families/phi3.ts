import { attentionRows } from '../facts.js'
import type { Family } from '../types.js'

const LAYER = '{prefix}layers.{layer}'
const attention = ['q', 'k', 'v'].map((part) => `${LAYER}.self_attn.${part}_proj.{wb}`)
const gates = ['gate', 'up'].map((part) => `${LAYER}.mlp.${part}_proj.{wb}`)

export const phi3: Family = {
  name: 'phi3',
  title: 'Phi-3, Phi-4',
  types: ['phi3'],
  forms: [
    {
      name: 'fused',
      says: 'qkv_proj and gate_up_proj',
      rules: [
        {
          tensor: `${LAYER}.self_attn.qkv_proj.{wb}`,
          is: { concat: attention, axis: 0, sizes: attentionRows },
        },
        { tensor: `${LAYER}.mlp.gate_up_proj.{wb}`, is: { concat: gates, axis: 0 } },
      ],
    },
    { name: 'parts', says: 'q_proj, k_proj, v_proj, gate_proj and up_proj, as in Llama', rules: [] },
  ],
}
