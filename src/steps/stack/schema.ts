import { inEditors, listOf, needsOne, object, ref, type Schema, several, text } from '../../language/schemaParts.js'

const OF =
  'The stack of layers, by the prefix of its tensor names, such as model.layers. Default: the layers of the language model.'
const slices: Schema = listOf(ref('slice'))

/** Definitions that `stack` refers to. */
export const definitions: Readonly<Record<string, Schema>> = {
  slice: object(
    {
      model: text('A model or step.'),
      layers: {
        type: 'array',
        items: { type: 'integer', minimum: 0 },
        minItems: 2,
        maxItems: 2,
        title: 'a half-open range of layers [from, to]',
        description: 'A half-open range of layers: [0, 24] selects layers 0 to 23.',
      },
      of: text(OF),
    },
    ['model', 'layers'],
    'Layers of one model.',
  ),
}
/** A `stack` step. */
export const stack = several(
  'a list of slices, or a mapping with slices or models',
  'Stacks ranges of layers and renumbers them.',
  slices,
  inEditors(
    object(
      {
        of: text(OF),
        slices: { ...slices, description: 'The slices, from the first layer up.' },
        models: {
          ...listOf(text('A model or step.'), 2),
          description: 'Models of the same layers. The first one gives everything else.',
        },
        weights: {
          ...listOf({ type: 'number', minimum: 0, description: 'A weight.' }),
          description: 'How probable each model is, in their order. Default: all alike.',
        },
        seed: { type: 'integer', minimum: 0, description: 'The seed of the draw. Default: the seed of the recipe.' },
      },
      [],
      'Slices and their stack of layers, or models from which each layer is drawn at random.',
    ),
    needsOne('Write either slices or models.', 'slices', 'models'),
  ),
)
