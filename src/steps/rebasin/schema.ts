import { listOf, object, ref, type Schema, several, text } from '../../language/schemaParts.js'

/** The `rebasin` key of a recipe. */
export const rebasin: Schema = {
  ...object(
    {
      model: text('The model to permute.'),
      onto: text('The model to align it to.'),
      models: {
        ...listOf(text('The name of a model.'), 2),
        description: 'The models to align jointly, onto the first one.',
      },
      method: {
        enum: ['weight-matching', 'merge-many', 'c2m3'],
        description: 'The alignment method. Default: weight-matching.',
      },
      spec: several(
        "auto, a family's name, a file, or the spec itself",
        'Which axes of which tensors share a permutation. Default: auto.',
        text('auto, the name of a family, or a file.'),
        ref('spec'),
      ),
      symmetry: { enum: ['permutation', 'orthogonal'], description: 'The allowed transforms. Default: permutation.' },
      seed: ref('seed'),
      max_iterations: { type: 'integer', minimum: 1, description: 'The maximum number of iterations. Default: 100.' },
    },
    [],
    'Aligns a model to another one, so that they can be averaged.',
  ),
}
