import {
  about,
  inEditors,
  listOf,
  object,
  ref,
  type Schema,
  several,
  text,
  when,
  without,
  word,
} from '../../language/schemaParts.js'
import { specChoice } from '../shared/specChoice.js'
import { checkSchema } from './check.js'

const ONE_BY_ONE = 'This method aligns one model: write method: merge-many or c2m3 for several.'

/** The `models` form has other keys and methods than the form with `model` and `onto`. */
const matched: Schema = when(
  { required: ['models'] },
  {
    required: ['method'],
    allOf: [
      without('model', 'onto', 'statistics'),
      about({ method: { pattern: '^(?!(?:weight-matching|activation-matching|mixed)$)', errorMessage: ONE_BY_ONE } }),
    ],
    errorMessage: 'The models are aligned jointly, onto the first one: write method: merge-many or c2m3.',
  },
  {
    ...about({
      method: {
        pattern: '^(?!(?:merge-many|c2m3)$)',
        errorMessage: 'This method aligns several models jointly: write models: [a, b, c].',
      },
    }),
    required: ['model', 'onto'],
  },
)

/** Given permutations need nothing that says how to find them. */
const forms: Schema = when(
  { required: ['permutations'] },
  {
    required: ['model'],
    allOf: [
      without(
        'onto',
        'models',
        'method',
        'statistics',
        'spec',
        'symmetry',
        'seed',
        'restarts',
        'select',
        'max_iterations',
      ),
    ],
    errorMessage: 'Permutations are applied as they are: write model and permutations.',
  },
  { allOf: [without('names'), matched] },
)

const part = object(
  {
    file: text('The file.'),
    inverse: text('The file, whose permutations are inverted.'),
    step: text('The step, if the file has permutations of several.'),
  },
  [],
  'A file whose permutations are inverted, or those of one step in a file.',
)
const file = text('A file of permutations, relative to the recipe.')

/** The `rebasin` key of a recipe. */
export const rebasin: Schema = inEditors(
  object(
    {
      model: text('The model to permute.'),
      onto: text('The model to align it to.'),
      models: inEditors(
        { ...listOf(text('The name of a model.'), 2), description: 'The models to align jointly, onto the first one.' },
        { uniqueItems: true },
      ),
      method: word(
        {
          'weight-matching': 'Git Re-Basin: permutes one model so that its weights are most like those of the other.',
          'activation-matching':
            'Permutes one model so that its units are most correlated with those of the other on the same inputs.',
          mixed: 'Activation matching, continued by weight matching.',
          'merge-many': 'MergeMany: aligns each of several models with the mean of the others, in turns.',
          c2m3: 'C²M³: aligns several models at once, so that the permutations around any cycle cancel.',
        },
        { description: 'The alignment method. Default: weight-matching.' },
      ),
      statistics: {
        type: 'object',
        minProperties: 2,
        additionalProperties: text('A safetensors file with activations.'),
        description: 'For activation-matching and mixed: the activations of both models on the same inputs, by model.',
      },
      spec: specChoice('Which axes of which tensors share a permutation. Default: auto.'),
      symmetry: word(
        {
          permutation: 'Reorders units. The network computes the same function.',
          orthogonal: 'Also allows rotations, for transformers that can be rotated.',
        },
        { description: 'The allowed transforms. Default: permutation.' },
      ),
      check: checkSchema,
      seed: ref('seed'),
      restarts: {
        type: 'integer',
        minimum: 1,
        maximum: 1000,
        description: 'How many seeds to try, from `seed`. The best result is kept. Default: 1.',
      },
      select: object(
        {
          maximize: text('The metric of evaluate that should be largest.'),
          minimize: text('The metric of evaluate that should be smallest.'),
        },
        [],
        'Chooses between seeds by a metric of the output that evaluate measures. Default: by the score.',
      ),
      permutations: several(
        'a file, {inverse: FILE}, or a list of these',
        'Permutations to apply instead of matching, from output: {permutations: true}. A list applies them in order.',
        file,
        part,
        listOf(several('a file or {inverse: FILE}', 'Permutations to apply.', file, part)),
      ),
      names: {
        ...listOf(text('{tensor}, or a name around it such as exp_avg.{tensor}.')),
        description: 'How the model names the tensors of the permutations. Default: [{tensor}].',
      },
      max_iterations: { type: 'integer', minimum: 1, description: 'The maximum number of iterations. Default: 100.' },
    },
    [],
    'Aligns a model to another one, so that they can be averaged.',
  ),
  forms,
)
