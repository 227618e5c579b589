/** Experts whose tensors have other names in transformers 5, and the same elements. */
import type { Family, LayoutRule } from '../../types.js'
import { LAYER } from './shared.js'

/** `at`: the module of the experts; `names`: by the name in a published checkpoint, that in transformers 5. */
const renames = (at: string, names: Readonly<Record<string, string>>): LayoutRule[] =>
  Object.entries(names).map(([released, now]) => ({
    tensor: `${LAYER}.${at}.${now}`,
    is: `${LAYER}.${at}.${released}`,
  }))

export const graniteMoe: Family = {
  name: 'granitemoe',
  title: 'Granite MoE, Granite 4',
  types: ['granitemoe', 'granitemoeshared', 'granitemoehybrid'],
  forms: [
    { name: 'released', says: 'block_sparse_moe.input_linear.weight, output_linear.weight', rules: [] },
    {
      name: 'transformers-5',
      says: 'block_sparse_moe.experts.gate_up_proj, down_proj',
      rules: renames('block_sparse_moe', {
        'input_linear.weight': 'experts.gate_up_proj',
        'output_linear.weight': 'experts.down_proj',
        'router.layer.weight': 'router.weight',
      }),
    },
  ],
}

export const ariaText: Family = {
  name: 'aria-text',
  title: 'Aria (experts)',
  types: ['aria_text'],
  forms: [
    { name: 'released', says: 'mlp.experts.fc1.weight, fc2.weight', rules: [] },
    {
      name: 'transformers-5',
      says: 'mlp.experts.gate_up_proj, down_proj',
      rules: renames('mlp.experts', { 'fc1.weight': 'gate_up_proj', 'fc2.weight': 'down_proj' }),
    },
  ],
}
