import type { Family } from '../../types.js'

/** transformers reads the names of TensorFlow in every model. */
export const layerNorm: Family = {
  name: 'layer-norm',
  title: 'BERT and others: layer norms',
  types: ['bert'],
  byNames: true,
  forms: [
    {
      name: 'gamma-beta',
      says: 'LayerNorm.gamma and LayerNorm.beta',
      rules: [
        { tensor: '{prefix}LayerNorm.gamma', is: '{prefix}LayerNorm.weight' },
        { tensor: '{prefix}LayerNorm.beta', is: '{prefix}LayerNorm.bias' },
      ],
    },
    { name: 'weight-bias', says: 'LayerNorm.weight and LayerNorm.bias', rules: [] },
  ],
}

/** Attention of PyTorch itself. Names alone do not tell that a model computes the same with other modules. */
export const multiheadAttention: Family = {
  name: 'multihead-attention',
  title: 'nn.MultiheadAttention',
  types: [],
  forms: [
    {
      name: 'fused',
      says: 'in_proj_weight and in_proj_bias',
      rules: [
        {
          tensor: '{prefix}in_proj_{wb}',
          is: { concat: ['q', 'k', 'v'].map((part) => `{prefix}${part}_proj.{wb}`), axis: 0 },
        },
      ],
    },
    { name: 'parts', says: 'q_proj, k_proj and v_proj', rules: [] },
  ],
}

/** transformers reads the old names of PyTorch in every model. */
export const weightNorm: Family = {
  name: 'weight-norm',
  title: 'Weight normalization of PyTorch',
  types: [],
  byNames: true,
  forms: [
    {
      name: 'weight-g-v',
      says: 'weight_g and weight_v, as until PyTorch 2.0',
      rules: [
        { tensor: '{prefix}weight_g', is: '{prefix}parametrizations.weight.original0' },
        { tensor: '{prefix}weight_v', is: '{prefix}parametrizations.weight.original1' },
      ],
    },
    { name: 'parametrizations', says: 'parametrizations.weight.original0 and original1', rules: [] },
  ],
}
