import {
  inEditors,
  listOf,
  object,
  ref,
  type Schema,
  several,
  text,
  textOrWord,
  word,
} from '../../language/schemaParts.js'
import { specChoice } from '../shared/specChoice.js'

const WIDTHS = {
  larger: 'The size of the largest model.',
  smaller: 'The size of the smallest model.',
  sum: 'All units of all models: nothing is merged.',
  keep: 'Units at the same place are merged, in their order. All models have the same size.',
}

const NUMBER: Schema = { type: 'integer', minimum: 1, description: 'The number of units.' }
const WORD: Schema = textOrWord('A share of the largest model, such as 120%.', WIDTHS)
const width: Schema = several(
  'a positive integer, a percentage such as 120%, larger, smaller, sum or keep',
  'The number of units.',
  NUMBER,
  WORD,
)

/** The `zip` key of a recipe. */
export const zip: Schema = object(
  {
    models: inEditors(
      { ...listOf(text('The name of a model or step.'), 2), description: 'The models to merge into one network.' },
      { uniqueItems: true },
    ),
    width: several(
      'a width, or widths by group',
      'The width of the result: of all groups of units, or by pattern of group names. The first pattern that fits decides. Default: larger.',
      NUMBER,
      WORD,
      {
        type: 'object',
        additionalProperties: width,
        minProperties: 1,
        description: 'Widths by pattern of group names.',
      },
    ),
    method: word(
      {
        zipit: 'ZipIt: merges the most similar units, within and across models.',
        pleas: 'PLeaS: pairs the units of two models one to one, and merges the most similar pairs.',
      },
      { description: 'How units are merged. Default: zipit.' },
    ),
    statistics: {
      type: 'object',
      minProperties: 2,
      additionalProperties: text('A safetensors file with activations.'),
      description:
        'The activations of all models on the same inputs, by model. Without them, units are compared by weights.',
    },
    unmerge: word(
      {
        auto: 'least-squares for layers whose inputs are in the statistics, copy for the others.',
        copy: 'A layer reads each merged unit in place of its units.',
        'least-squares': 'A layer reads the combination of merged units that fits its own inputs best.',
      },
      { description: 'What layers read in place of merged units. Default: auto.' },
    ),
    heads: {
      ...ref('patterns'),
      description: 'Tensors whose outputs stay apart and follow one another, model after model.',
    },
    penalty: {
      type: 'number',
      minimum: 0,
      maximum: 1,
      description: 'α of ZipIt: after each merge, similarities of the merged unit are multiplied by it. Default: 0.3.',
    },
    within: {
      type: 'number',
      minimum: 0,
      maximum: 1,
      description: 'β of ZipIt: the share of a model’s merges that may be within the model. Default: 1.',
    },
    spec: specChoice('Which axes of which tensors have the same units. Default: auto.'),
  },
  ['models'],
  'Merges models of the same structure, whose layers may have other widths, into one network of a given width.',
)
