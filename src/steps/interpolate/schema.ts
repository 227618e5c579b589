import { listOf, object, ref, text } from '../../language/schemaParts.js'

/** The `interpolate` key of a recipe. */
export const interpolate = object(
  {
    from: text('The model at t = 0.'),
    to: text('The model at t = 1.'),
    points: { type: 'integer', minimum: 2, maximum: 10001, description: 'The number of points, both ends included.' },
    at: { ...listOf({ type: 'number' }), description: 'The values of t.' },
    method: { enum: ['linear', 'slerp'], description: 'The method of interpolation. Default: linear.' },
    keep: {
      type: 'boolean',
      description: 'Whether to write the checkpoints. false keeps only the evaluations. Default: true.',
    },
    evaluate: ref('evaluate'),
  },
  ['from', 'to'],
  'Writes checkpoints along the path between two models.',
)
