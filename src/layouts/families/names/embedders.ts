import type { Family } from '../../types.js'
import { renames } from '../renames.js'

const OLD = '{prefix}encoder.layers.{layer}'
const LAYER = '{prefix}layers.{layer}'
const attention = ['q', 'k', 'v'].map((part) => `${LAYER}.self_attn.${part}_proj.{wb}`)

/** Text encoders whose own code has fused attention, and that of transformers 5 has not. */
const embedder = (name: string, title: string, module: string, mlp: Readonly<Record<string, string>>): Family => ({
  name,
  title,
  types: [name.replaceAll('-', '_')],
  forms: [
    {
      name: 'released',
      says: `encoder.layers.N.${module}.Wqkv`,
      rules: [
        { tensor: `${OLD}.${module}.Wqkv.{wb}`, is: { concat: attention, axis: 0 } },
        ...renames({
          [`${LAYER}.self_attn.o_proj.{wb}`]: `${OLD}.${module}.out_proj.{wb}`,
          [`${LAYER}.post_attention_layernorm.{wb}`]: `${OLD}.norm1.{wb}`,
          [`${LAYER}.post_mlp_layernorm.{wb}`]: `${OLD}.norm2.{wb}`,
          '{prefix}embeddings.LayerNorm.{wb}': '{prefix}emb_ln.{wb}',
          ...Object.fromEntries(
            Object.entries(mlp).map(([old, now]) => [`${LAYER}.mlp.${now}.{wb}`, `${OLD}.mlp.${old}.{wb}`]),
          ),
        }),
      ],
    },
    { name: 'transformers-5', says: 'layers.N.self_attn.q_proj', rules: [] },
  ],
})

export const jina = embedder('jina-embeddings-v3', 'Jina Embeddings 3', 'mixer', { fc1: 'fc1', fc2: 'fc2' })

export const nomicBert = embedder('nomic-bert', 'Nomic Embed', 'attn', {
  fc11: 'up_proj',
  fc12: 'gate_proj',
  fc2: 'down_proj',
})
