import { listOf, object, ref, type Schema, several, text } from '../../language/schemaParts.js'

/** The `rebasin` key of a recipe. */
export const rebasin: Schema = {
  ...object(
    {
      model: text('The model to permute.'),
      onto: text('The model it is permuted onto.'),
      models: { ...listOf(text('A model.'), 2), description: 'Models to align jointly, onto the first of them.' },
      method: { enum: ['weight-matching', 'merge-many', 'c2m3'], description: 'Default: weight-matching.' },
      spec: several(
        "auto, a family's name, a file, or the spec itself",
        'Which axes of which tensors share a permutation. Default: auto.',
        text('auto, a family, or a file.'),
        ref('spec'),
      ),
      symmetry: { enum: ['permutation', 'orthogonal'], description: 'Default: permutation.' },
      seed: ref('seed'),
      max_iterations: { type: 'integer', minimum: 1, description: 'Default: 100.' },
    },
    [],
    'Permutes a model onto another so that they can be averaged.',
  ),
}
