import type { Family } from '../../types.js'
import { renames } from '../renames.js'
import { halves, pairs, visionHeads } from '../rotary.js'
import { hasOneOf } from '../signs.js'

const BLOCK = 'vision_tower.encoder.blocks.{layer}'
const NOW = 'model.vision_tower.layers.{layer}'

const part = (name: string): string => `${NOW}.attn.${name}_proj.{wb}`
const turned = [part('q'), part('k')] as const

/** The experts of its language model are those of DeepSeek V3. */
export const kimi: Family = {
  name: 'kimi-k25',
  title: 'Kimi K2.5 (names, attention of the vision encoder)',
  types: ['kimi_k25'],
  isOne: hasOneOf('mm_projector.{rest}', 'model.mm_projector.{rest}'),
  forms: [
    {
      name: 'released',
      says: 'language_model.model.*, vision_tower.encoder.blocks.*, wqkv',
      rules: [{ tensor: `${BLOCK}.wqkv.{wb}`, is: { concat: [...turned.map(pairs), part('v')], axis: 0 } }],
    },
    {
      name: 'transformers-5',
      says: 'model.language_model.*, model.vision_tower.layers.*, attn.q_proj',
      rules: [
        ...turned.map((name) => ({ tensor: name, is: halves(name, visionHeads) })),
        ...renames({
          'language_model.model.{rest}': 'model.language_model.{rest}',
          'language_model.lm_head.{rest}': 'lm_head.{rest}',
          [`${BLOCK}.norm0.{wb}`]: `${NOW}.norm1.{wb}`,
          [`${BLOCK}.norm1.{wb}`]: `${NOW}.norm2.{wb}`,
          [`${BLOCK}.mlp.fc0.{wb}`]: `${NOW}.mlp.fc1.{wb}`,
          [`${BLOCK}.mlp.fc1.{wb}`]: `${NOW}.mlp.fc2.{wb}`,
          [`${BLOCK}.wo.{wb}`]: `${NOW}.attn.proj.{wb}`,
          'vision_tower.encoder.final_layernorm.{wb}': 'model.vision_tower.final_layernorm.{wb}',
          'vision_tower.patch_embed.proj.{wb}': 'model.vision_tower.patch_embed.proj.{wb}',
          'vision_tower.patch_embed.pos_emb.weight': 'model.vision_tower.patch_embed.pos_emb.position_embeddings',
          'mm_projector.pre_norm.{wb}': 'model.mm_projector.pre_norm.{wb}',
          'mm_projector.proj.0.{wb}': 'model.mm_projector.in_proj.{wb}',
          'mm_projector.proj.2.{wb}': 'model.mm_projector.out_proj.{wb}',
        }),
      ],
    },
  ],
}
