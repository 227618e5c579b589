import { object, text } from '../../language/schemaParts.js'

/** The `repair` key of a recipe. */
export const repair = object(
  {
    model: text('The model to repair. Default in the short form: the merged model.'),
    batch_norm: { enum: ['correlation'] },
  },
  ['batch_norm'],
  'Corrects BatchNorm variances after an averaging merge, without data.',
)
