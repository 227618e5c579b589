import { object, text, word } from '../../language/schemaParts.js'

/** The `repair` key of a recipe. */
export const repair = object(
  {
    model: text('The model to repair. Default in the short form: the merged model.'),
    batch_norm: word(
      { correlation: 'Computes the variance of the average from the correlation of the models’ units.' },
      {},
    ),
  },
  ['batch_norm'],
  'Corrects BatchNorm variances after an averaging merge, without data.',
)
