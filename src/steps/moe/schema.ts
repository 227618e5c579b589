import { listOf, object, type Schema, text, word } from '../../language/schemaParts.js'
import { ARCHITECTURES, GATES } from './types.js'

/** An empty text is the start of a text alone. */
const texts = (description: string): Schema => ({
  ...listOf({ type: 'string', title: 'a string', description: 'A text.' }),
  description,
})
const number = (description: string, least?: number): Schema => ({
  type: 'number',
  ...(least === undefined ? {} : { minimum: least }),
  description,
})

const PROMPTS = 'Texts for which the router shall choose this expert.'
const NEGATIVE = 'Texts for which it shall not.'
const SCALE = 'Factor of what the expert adds: of its down projection, noise included. Default: 1.'
const NOISE = 'Size of the random noise N(0, 1) on the expert’s matrices. Default: 0.'

const expert = object(
  {
    model: text('A dense model or step, for its MLPs.'),
    prompts: texts(PROMPTS),
    negative: texts(NEGATIVE),
    residual_scale: number(SCALE),
    noise_scale: number(NOISE, 0),
  },
  ['model'],
  'One expert.',
)
const shared = object(
  {
    model: text('A dense model or step, for its MLPs.'),
    scale: number(SCALE),
    noise: number(NOISE, 0),
    prompts: texts(
      'Texts for which its gate shall be open, for Qwen2-MoE. Default: its gate is 0, so that it counts half.',
    ),
    negative: texts(NEGATIVE),
    gate: {
      ...word({ zero: 'A gate of zeros: the expert counts half.' }, {}),
      description: 'Its gate, where that is not made like the router.',
    },
  },
  ['model'],
  'An expert that every token goes through.',
)

/** A `moe` step. */
export const moe: Schema = {
  ...object(
    {
      base: text('The model for everything but the MLPs.'),
      experts: { ...listOf(expert), description: 'The experts, in the order of the router’s rows.' },
      upcycle: object(
        {
          model: text('A dense model or step, for everything.'),
          copies: { type: 'integer', minimum: 1, maximum: 4096, description: 'The number of experts.' },
          noise: number(NOISE, 0),
        },
        ['model', 'copies'],
        'All experts are copies of one model.',
      ),
      pool: {
        ...listOf(text('A mixture.'), 2),
        description: 'Mixtures whose experts are put together. The rest is the first one’s.',
      },
      dense: object(
        {
          model: text('A mixture.'),
          weights: {
            ...listOf(number('A weight.')),
            description:
              'Weights of the experts, and of the shared expert if there is one. They are divided by their sum. Default: all 1.',
          },
        },
        ['model'],
        'Merges the experts of a mixture into one dense model.',
      ),
      gate: {
        ...word(GATES, {}),
        description: 'How routers are made. Default: embedding with prompts, statistics with a file, else random.',
      },
      statistics: text(
        'A safetensors file with expert.J.positive and expert.J.negative [layers, hidden], for gate: statistics.',
      ),
      architecture: { ...word(ARCHITECTURES, {}), description: 'The kind of mixture. Default: by the base.' },
      experts_per_token: {
        type: 'integer',
        minimum: 1,
        description: 'How many experts a token goes through. Default: 2.',
      },
      shared_expert: shared,
      residual_scale: number('The same for all experts that have none.'),
      noise_scale: number('The same for all experts that have none.', 0),
      seed: {
        type: 'integer',
        minimum: 0,
        description: 'The seed of noise and random routers. Default: the seed of the recipe.',
      },
      layout: {
        ...word({ parts: 'One tensor per expert and matrix.', fused: 'All experts of a layer in one tensor.' }, {}),
        description: 'How experts are stored. Default: parts.',
      },
      equal_experts: {
        type: 'boolean',
        description: 'Whether all experts may be the same model although the gate is not random.',
      },
    },
    [],
    'Makes a mixture of experts of dense models, or changes mixtures.',
  ),
}
