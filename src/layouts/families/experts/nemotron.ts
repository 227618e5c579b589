import type { Family } from '../../types.js'
import { hasOneOf } from '../signs.js'
import { rows } from './shared.js'

export const nemotronH: Family = {
  name: 'nemotron-h',
  title: 'Nemotron-H, Nemotron 3',
  types: ['nemotron_h'],
  isOne: hasOneOf('backbone.layers.{layer}.mixer.{rest}', 'model.layers.{layer}.mixer.{rest}'),
  forms: [
    {
      name: 'released',
      says: 'backbone.*, one tensor per expert and matrix: mixer.experts.0.up_proj',
      rules: [],
    },
    {
      name: 'transformers-5',
      says: 'model.*, all experts in one tensor: mixer.experts.up_proj [experts, intermediate, hidden]',
      rules: [
        ...rows('backbone.layers.{layer}.mixer.experts', 'model.layers.{layer}.mixer.experts', {
          up: 'up_proj',
          down: 'down_proj',
        }),
        { tensor: 'model.{rest}', is: 'backbone.{rest}' },
      ],
    },
  ],
}
