import { inEditors, listOf, needsOne, object, ref, type Schema, text, word } from '../../language/schemaParts.js'
import { batchNorm } from '../repair/schema.js'

/** The `interpolate` key of a recipe. */
export const interpolate: Schema = inEditors(
  object(
    {
      from: text('The model at t = 0.'),
      to: text('The model at t = 1.'),
      points: { type: 'integer', minimum: 2, maximum: 10001, description: 'The number of points, both ends included.' },
      at: inEditors({ ...listOf({ type: 'number' }), description: 'The values of t.' }, { uniqueItems: true }),
      method: word(
        { linear: 'Along the straight line.', slerp: 'Along the arc, by the angle between whole tensors.' },
        { description: 'The method of interpolation. Default: linear.' },
      ),
      keep: {
        type: 'boolean',
        description: 'Whether to write the checkpoints. false keeps only the evaluations. Default: true.',
      },
      repair: object(
        {
          batch_norm: batchNorm(
            'A safetensors file per point: {point} becomes the name of the point, such as t-0.500.',
          ),
        },
        ['batch_norm'],
        'Corrects the running statistics of BatchNorms in every point but the ends.',
      ),
      evaluate: ref('evaluate'),
    },
    ['from', 'to'],
    'Writes checkpoints along the path between two models.',
  ),
  needsOne('Write either points or at.', 'points', 'at'),
)
