import { groupedRows, headsIn } from '../../facts.js'
import type { Family } from '../../types.js'
import { rewritten } from './configs.js'

const ATTENTION = '{prefix}h.{layer}.attn'
/** CodeGen was trained on this many devices, and its code splits attention as they did. */
const GROUPS = 4
const CLASSES = { CodeGenForCausalLM: 'GPTJForCausalLM', CodeGenModel: 'GPTJModel' }

/** The parts of CodeGen are those of GPT-J. */
export const codegen: Family = {
  name: 'codegen',
  title: 'CodeGen',
  types: ['codegen'],
  forms: [
    {
      name: 'fused',
      says: 'qkv_proj: four groups of query, value and key',
      rules: [
        {
          tensor: `${ATTENTION}.qkv_proj.weight`,
          is: {
            concat: ['q', 'v', 'k'].map((part) => `${ATTENTION}.${part}_proj.weight`),
            axis: 0,
            groups: GROUPS,
            sizes: (facts) => {
              const heads = headsIn(facts)
              return typeof heads === 'string' ? heads : groupedRows(facts, GROUPS, heads)
            },
          },
        },
      ],
      only: [`${ATTENTION}.causal_mask`],
      config: rewritten({
        from: 'gptj',
        to: 'codegen',
        classes: Object.fromEntries(Object.entries(CLASSES).map(([own, other]) => [other, own])),
        added: (config) => ({ n_ctx: config.n_positions ?? 2048 }),
        refused: ({ n_head: heads = 16 }) =>
          Number(heads) % GROUPS === 0 ? undefined : 'the number of heads of codegen is divisible by 4',
      }),
    },
    {
      name: 'parts',
      says: 'q_proj, k_proj and v_proj, as in GPT-J',
      rules: [],
      only: [`${ATTENTION}.bias`, `${ATTENTION}.masked_bias`],
      config: rewritten({ from: 'codegen', to: 'gptj', classes: CLASSES, dropped: ['n_ctx'] }),
    },
  ],
}
