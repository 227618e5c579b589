import { listOf, object, type Schema, several, text } from '../../language/schemaParts.js'

const OF =
  'Which stack of layers, by the prefix of its names, such as model.layers. Default: the language model’s, where that is certain.'
const slices = (description?: string): Schema => ({
  ...listOf(
    object(
      {
        model: text('A model or step.'),
        layers: {
          type: 'array',
          items: { type: 'integer', minimum: 0 },
          minItems: 2,
          maxItems: 2,
          title: 'a half-open range of layers [from, to]',
        },
        of: text(OF),
      },
      ['model', 'layers'],
      'Layers taken from one model.',
    ),
  ),
  ...(description ? { description } : {}),
})
/** A `stack` step. */
export const stack = several(
  'a list of slices, or a mapping with of and slices',
  'Ranges of layers put on each other, renumbered.',
  slices(),
  object(
    { of: text(OF), slices: slices('The slices, from the first layer up.') },
    ['slices'],
    'Slices, and of which stack of layers they are.',
  ),
)
