import type { Family, Form } from '../types.js'

const EXPERT = '{prefix}layers.{layer}.block_sparse_moe.experts.{expert}'
const rows: Form = { concat: [`${EXPERT}.w1.weight`, `${EXPERT}.w3.weight`], axis: 0 }

export const mixtral: Family = {
  name: 'mixtral',
  title: 'Mixtral, MiniMax',
  types: ['mixtral', 'minimax', 'minimax_m2'],
  forms: [
    { name: 'released', says: 'one tensor per expert and matrix: block_sparse_moe.experts.E.w1', rules: [] },
    {
      name: 'transformers-5',
      says: 'all experts in one tensor: mlp.experts.gate_up_proj [experts, 2 · intermediate, hidden]',
      rules: [
        { tensor: '{prefix}layers.{layer}.mlp.experts.gate_up_proj', is: { stack: rows, over: 'expert' } },
        {
          tensor: '{prefix}layers.{layer}.mlp.experts.down_proj',
          is: { stack: `${EXPERT}.w2.weight`, over: 'expert' },
        },
        { tensor: '{prefix}layers.{layer}.mlp.gate.weight', is: '{prefix}layers.{layer}.block_sparse_moe.gate.weight' },
        {
          tensor: '{prefix}layers.{layer}.mlp.e_score_correction_bias',
          is: '{prefix}layers.{layer}.block_sparse_moe.e_score_correction_bias',
        },
      ],
    },
  ],
}
