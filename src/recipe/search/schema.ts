/** The `search` key of a recipe. */
import { listOf, object, ref, type Schema, several, text, word } from '../../language/schemaParts.js'

/** More parameters need more trials than anybody has. */
export const MOST_DIMENSIONS = 100
const MOST_TRIALS = 1_000_000
const MOST_PARALLEL = 64

const count = (most: number, description: string): Schema => ({
  type: 'integer',
  minimum: 1,
  maximum: most,
  description,
})

const range = object(
  {
    range: {
      ...listOf({ type: 'number' }, 2),
      maxItems: 2,
      title: 'two numbers: [low, high]',
      description: 'The smallest and the largest value.',
    },
    log: {
      type: 'boolean',
      description: 'Whether to spread values evenly over orders of magnitude. Default: false.',
    },
    integer: { type: 'boolean', description: 'Whether to use integers only. Default: false.' },
    step: { type: 'number', description: 'Use only low, low + step, and so on. Default: any value.' },
    points: count(MOST_TRIALS, 'How many values a grid takes, spread evenly from low to high.'),
  },
  ['range'],
  'A range of numbers.',
)

const values = listOf({
  type: ['number', 'string', 'boolean'],
  title: 'a number, a string, true or false',
  description: 'One of the values to try.',
})

const goal = object(
  {
    maximize: text('A metric that the command prints. Greater is better.'),
    minimize: text('A metric that the command prints. Smaller is better.'),
    weight: { type: 'number', description: 'What the metric is multiplied with in the score. Default: 1.' },
  },
  [],
  'A metric to maximize or to minimize.',
)

export const searchSchema: Schema = object(
  {
    parameters: {
      type: 'object',
      minProperties: 1,
      additionalProperties: several(
        'a list of values or a mapping with range',
        'The values of a parameter, by its path in the recipe, such as merge.weights.math.',
        values,
        range,
      ),
      description: 'What to vary: paths as in --set, with ranges or lists of values.',
    },
    objective: several(
      'a mapping or a list of mappings',
      'What makes a checkpoint better. With several metrics, the score is their weighted sum.',
      ref('goal'),
      listOf(ref('goal')),
    ),
    method: word(
      {
        grid: 'Try every combination.',
        random: 'Draw points evenly from the whole space.',
        'cma-es': 'CMA-ES: an evolution strategy for numbers. It adapts to how parameters depend on each other.',
        tpe: 'Tree-structured Parzen estimator: for numbers and lists, with few trials.',
      },
      { title: 'a search method', description: 'How to choose the next values.' },
    ),
    trials: count(MOST_TRIALS, 'The number of checkpoints to make. Default: for a grid, all of its points.'),
    seed: { ...ref('seed'), description: 'The seed of the search. Default: 0.' },
    parallel: count(MOST_PARALLEL, 'How many checkpoints are evaluated at the same time. Default: 1.'),
    patience: count(MOST_TRIALS, 'End the search after this many trials without a better one. Default: never.'),
    evaluate: ref('evaluate'),
  },
  ['parameters', 'objective', 'method'],
  'Values that terge search varies to make a metric of evaluate better. Other commands ignore it.',
)

export const searchDefinitions: Readonly<Record<string, Schema>> = { goal }
