import { object, ref, text } from '../../language/schemaParts.js'

/** `extract`: a step of `steps`. */
export const extract = object(
  {
    lora: object(
      {
        from: text('The tuned model: a model or a step.'),
        base: text('The model that the adapter is for: a model or a step.'),
        rank: {
          type: 'integer',
          minimum: 1,
          title: 'a whole number from 1',
          description: 'Its rank; of a matrix with a shorter side, that one.',
        },
        alpha: {
          type: 'number',
          minimum: 0.000001,
          title: 'a number above 0',
          description: 'lora_alpha: readers scale by alpha/rank. Default: the rank, so that the scale is 1.',
        },
        include: ref('patterns'),
        exclude: ref('patterns'),
        modules_to_save: {
          type: 'boolean',
          description:
            'Save whole what no low-rank matrix can be: norms, and layers of other kinds. Default: false, they are left out.',
        },
        lora_bias: {
          type: 'boolean',
          description:
            'Hold the differences of adapted layers’ biases too, as lora_bias of PEFT 0.14 and later; not beside embeddings. Default: false.',
        },
        method: {
          enum: ['auto', 'exact', 'randomised'],
          description: 'How singular vectors are found. Default: auto, which is exact for small matrices.',
        },
        oversampling: {
          type: 'integer',
          minimum: 0,
          title: 'a whole number from 0',
          description: 'Of the randomised method: columns beyond the rank. Default: 16.',
        },
        iterations: {
          type: 'integer',
          minimum: 1,
          maximum: 100,
          title: 'a whole number from 1 to 100',
          description: 'Of the randomised method: power iterations. Default: 4.',
        },
      },
      ['from', 'base', 'rank'],
      'A low-rank adapter of the difference, as PEFT reads it.',
    ),
  },
  ['lora'],
  'Takes an adapter out of a tuned model.',
)
