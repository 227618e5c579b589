import type { Family, LayoutRule } from '../../types.js'

const renamed = (pairs: Readonly<Record<string, string>>, from: string, to: string): LayoutRule[] =>
  Object.entries(pairs).map(([old, name]) => ({ tensor: `${from}.${old}`, is: `${to}.${name}` }))

const ATTENTION = {
  'attention.attention.query.{wb}': 'attention.q_proj.{wb}',
  'attention.attention.key.{wb}': 'attention.k_proj.{wb}',
  'attention.attention.value.{wb}': 'attention.v_proj.{wb}',
  'attention.output.dense.{wb}': 'attention.o_proj.{wb}',
}
const MLP = { 'intermediate.dense.{wb}': 'mlp.fc1.{wb}', 'output.dense.{wb}': 'mlp.fc2.{wb}' }
/** Only their layers have other names. */
const REST = ['layernorm_before.{wb}', 'layernorm_after.{wb}', 'lambda_1', 'lambda_2']
const BIAS = 'relative_position_bias.relative_position_bias_table'

const LAYER = '{prefix}layers.{layer}'
const DECODER = '{prefix}decoder_layers.{layer}'

export const vit: Family = {
  name: 'vit',
  title: 'ViT and models with its layers: DeiT, BEiT, ViT-MAE, ViT-MSN, I-JEPA, AST, ViViT',
  types: ['vit', 'deit', 'beit', 'vit_mae', 'vit_msn', 'ijepa', 'audio-spectrogram-transformer', 'vivit'],
  forms: [
    {
      name: 'released',
      says: 'encoder.layer.N.attention.attention.query',
      rules: [
        ...renamed(
          { ...ATTENTION, ...MLP, ...Object.fromEntries(REST.map((name) => [name, name])) },
          '{prefix}encoder.layer.{layer}',
          LAYER,
        ),
        { tensor: `{prefix}encoder.layer.{layer}.attention.attention.${BIAS}`, is: `${LAYER}.${BIAS}` },
        ...renamed({ ...ATTENTION, ...MLP }, DECODER, DECODER),
      ],
    },
    { name: 'transformers-5', says: 'layers.N.attention.q_proj, mlp.fc1', rules: [] },
  ],
}

const ENCODER = '{prefix}encoder.layer.{layer}'
const gates = ['gate', 'up'].map((part) => `${ENCODER}.mlp.${part}_proj.{wb}`)

export const dinov2: Family = {
  name: 'dinov2',
  title: 'DINOv2, also with registers',
  types: ['dinov2', 'dinov2_with_registers'],
  forms: [
    {
      name: 'released',
      says: 'attention.attention.query; mlp.weights_in in models with SwiGLU',
      rules: [
        ...renamed(ATTENTION, ENCODER, ENCODER),
        { tensor: `${ENCODER}.mlp.weights_in.{wb}`, is: { concat: gates, axis: 0 } },
        { tensor: `${ENCODER}.mlp.weights_out.{wb}`, is: `${ENCODER}.mlp.down_proj.{wb}` },
      ],
    },
    { name: 'transformers-5', says: 'attention.q_proj; mlp.gate_proj and up_proj', rules: [] },
  ],
}
