import type { Family, LayoutRule } from '../../types.js'
import { renames } from '../renames.js'
import { halves, pairs, visionHeads } from '../rotary.js'
import { hasOneOf } from '../signs.js'

const RELEASED = 'model.layers.{layer}'
const NOW = 'model.language_model.layers.{layer}'
const BLOCK = 'vision_model.transformer.resblocks.{layer}'
const VISION = 'model.vision_model.layers.{layer}'

/** Gate and up of all experts are two tensors in a published checkpoint, and one in transformers 5. */
const experts: readonly LayoutRule[] = [
  {
    tensor: `${NOW}.mlp.experts.gate_up_proj`,
    is: { concat: [`${RELEASED}.moe.gate_proj.weight`, `${RELEASED}.moe.up_proj.weight`], axis: 1 },
  },
  ...renames({
    [`${RELEASED}.moe.down_proj.weight`]: `${NOW}.mlp.experts.down_proj`,
    [`${RELEASED}.moe.gate.weight`]: `${NOW}.mlp.gate.weight`,
    [`${RELEASED}.moe.router_bias`]: `${NOW}.mlp.gate.e_score_correction_bias`,
    [`${RELEASED}.share_expert.{rest}`]: `${NOW}.mlp.shared_experts.{rest}`,
  }),
]

/** The parts of a layer that keep their names. */
const SAME = [
  'input_layernorm',
  'mlp.down_proj',
  'mlp.gate_proj',
  'mlp.up_proj',
  'post_attention_layernorm',
  'self_attn',
]

const names = renames({
  ...Object.fromEntries(SAME.map((module) => [`${RELEASED}.${module}.{rest}`, `${NOW}.${module}.{rest}`])),
  'model.embed_tokens.{rest}': 'model.language_model.embed_tokens.{rest}',
  'model.norm.{rest}': 'model.language_model.norm.{rest}',
  'vit_large_projector.{rest}': 'model.multi_modal_projector.{rest}',
  'vision_model.conv1.weight': 'model.vision_model.embeddings.patch_embedding.weight',
  'vision_model.positional_embedding': 'model.vision_model.embeddings.position_embedding.weight',
  'vision_model.ln_pre.{wb}': 'model.vision_model.pre_layernorm.{wb}',
  'vision_model.vit_downsampler1.{wb}': 'model.vision_model.downsampler1.{wb}',
  'vision_model.vit_downsampler2.{wb}': 'model.vision_model.downsampler2.{wb}',
  [`${BLOCK}.ls_1.gamma`]: `${VISION}.lambda_1`,
  [`${BLOCK}.ls_2.gamma`]: `${VISION}.lambda_2`,
  [`${BLOCK}.mlp.c_fc.{wb}`]: `${VISION}.mlp.fc1.{wb}`,
  [`${BLOCK}.mlp.c_proj.{wb}`]: `${VISION}.mlp.fc2.{wb}`,
  [`${BLOCK}.ln_1.{wb}`]: `${VISION}.layernorm_before.{wb}`,
  [`${BLOCK}.ln_2.{wb}`]: `${VISION}.layernorm_after.{wb}`,
  [`${BLOCK}.attn.out_proj.{wb}`]: `${VISION}.self_attn.out_proj.{wb}`,
})

const part = (name: string): string => `${VISION}.self_attn.${name}_proj.{wb}`
const turned = [part('q'), part('k')] as const

export const step: Family = {
  name: 'step3p7',
  title: 'Step 3.7',
  types: ['step3p7'],
  isOne: hasOneOf(
    'vision_model.transformer.{rest}',
    'model.vision_model.layers.{rest}',
    '{prefix}self_attn.g_proj.weight',
  ),
  forms: [
    {
      name: 'released',
      says: 'model.layers.*, experts in moe.gate_proj and moe.up_proj, vision_model.transformer.*',
      rules: [{ tensor: `${BLOCK}.attn.in_proj_{wb}`, is: { concat: [...turned.map(pairs), part('v')], axis: 0 } }],
    },
    {
      name: 'transformers-5',
      says: 'model.language_model.layers.*, experts in mlp.experts.gate_up_proj, model.vision_model.*',
      rules: [...experts, ...names, ...turned.map((name) => ({ tensor: name, is: halves(name, visionHeads) }))],
    },
  ],
}
