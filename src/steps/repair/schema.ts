import { object, type Schema, several, text, word } from '../../language/schemaParts.js'

/** Where the statistics of BatchNorms come from. `file`: what the file is. */
export const batchNorm = (file: string): Schema =>
  several(
    'correlation, or a mapping with statistics',
    'Where the running statistics of the BatchNorms come from.',
    word(
      { correlation: 'Computes the variance of the average from the correlation of the models’ units.' },
      { type: 'string' },
    ),
    object({ statistics: text(file) }, ['statistics'], 'Measured running statistics.'),
  )

/** The `repair` key of a recipe. */
export const repair = object(
  {
    model: text('The model to repair. Default in the short form: the merged model.'),
    batch_norm: batchNorm(
      'A safetensors file with the running means and variances, measured in the network to repair.',
    ),
  },
  ['batch_norm'],
  'Corrects the running statistics of BatchNorms after an averaging merge.',
)
