import { listOf, object, ref, text } from '../../language/schemaParts.js'

/** The `interpolate` key of a recipe. */
export const interpolate = object(
  {
    from: text('The model at t = 0.'),
    to: text('The model at t = 1.'),
    points: { type: 'integer', minimum: 2, maximum: 10001, description: 'How many points, ends included.' },
    at: { ...listOf({ type: 'number' }), description: 'The values of t themselves.' },
    method: { enum: ['linear', 'slerp'], description: 'Default: linear.' },
    keep: { type: 'boolean', description: 'false keeps only the evaluations. Default: true.' },
    evaluate: ref('evaluate'),
  },
  ['from', 'to'],
  'Checkpoints along the way between two models.',
)
