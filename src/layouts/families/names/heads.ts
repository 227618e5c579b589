import type { Family } from '../../types.js'
import { renames } from '../renames.js'
import { hasOneOf } from '../signs.js'

export const gptNeoxHead: Family = {
  name: 'gpt-neox-head',
  title: 'GPT-NeoX, Pythia (name of the head)',
  types: ['gpt_neox'],
  isOne: hasOneOf('gpt_neox.{rest}'),
  forms: [
    { name: 'released', says: 'embed_out.weight', rules: [] },
    { name: 'transformers-5', says: 'lm_head.weight', rules: renames({ 'embed_out.{rest}': 'lm_head.{rest}' }) },
  ],
}
