/** The `tokenizer` key of a recipe. */
import {
  inEditors,
  needsOne,
  object,
  ref,
  type Schema,
  several,
  text,
  textOrWord,
  when,
  word,
} from '../../language/schemaParts.js'
import { DEFAULT_K } from '../../steps/transplant/settings.js'

const source = textOrWord('base, union, or the name of a model.', {
  base: 'The vocabulary of the base.',
  union: 'The tokens of all models.',
})

export const tokenizer = several(
  'base, union, the name of a model, or a mapping',
  'The tokenizer of the result. Default: base.',
  source,
  ref('tokenizer'),
)

const tokenSource = inEditors(
  object(
    {
      kind: word(
        { model_token: 'The embedding of a token of a model.', zero: 'Zeros.' },
        { description: 'model_token: the embedding of a token of a model. zero: zeros.' },
      ),
      model: text('The name of a model.'),
      token: { type: 'string', description: 'The text of the token.' },
      token_id: { type: 'integer', minimum: 0, description: 'The id of the token.' },
    },
    ['kind'],
    'The embedding of any token of a model, or zeros.',
  ),
  when(
    { properties: { kind: { const: 'model_token' } }, required: ['kind'] },
    { required: ['model'], ...needsOne('Write either token or token_id.', 'token', 'token_id') },
  ),
)

const tokenChoice = object(
  {
    source: several(
      'the name of a model or a mapping',
      'Where the embedding comes from.',
      text('A model that has the token.'),
      ref('token-source'),
    ),
    force: {
      type: 'boolean',
      description: 'Also replace the embedding in models that have the token. Default: false.',
    },
  },
  ['source'],
  'The source, with options.',
)

const subwordWeights = word(
  {
    even: 'All pieces count the same.',
    first: 'The first piece counts most: weights n, n − 1, …, 1.',
    last: 'The last piece counts most: weights 1, 2, …, n.',
  },
  { type: 'string', description: 'Which pieces count most.' },
)

const mapping = object(
  {
    source,
    tokens: {
      type: 'object',
      additionalProperties: several(
        'the name of a model or a mapping',
        'Where the embedding of one token comes from.',
        text('A model that has the token.'),
        ref('token-choice'),
      ),
      description:
        'For each token: the source of its embedding in models that lack it. Default: the base, or else the average of the models that have it.',
    },
    pad_to_multiple_of: {
      type: 'integer',
      minimum: 1,
      description: 'Pads the vocabulary to a multiple of this number.',
    },
    missing: word(
      {
        omp: 'Sums of few rows that the models share, found by orthogonal matching pursuit in the embedding of the source.',
        nearest: 'Weighted sums of the nearest rows that the models share.',
        subword: 'The mean of the rows of the pieces into which the own tokenizer cuts the token.',
        mean: 'The mean of all rows.',
        zero: 'Zeros.',
      },
      {
        description:
          'Gives the result the vocabulary of the source, and says how rows of tokens that it lacks are made. Rows of tokens that it has are copied.',
      },
    ),
    k: {
      type: 'integer',
      minimum: 1,
      description: `For omp and nearest: the number of rows that are combined. Default: ${DEFAULT_K}.`,
    },
    nearest_weights: word(
      {
        distance: 'The nearest rows by distance, weighed by its inverse.',
        cosine: 'The rows with the largest cosines, weighed by these.',
        barycentric: 'Weights that sum to 1 and fit best.',
        least_squares: 'Weights that fit best.',
      },
      { description: 'For nearest: how the rows are weighed. Default: distance.' },
    ),
    subword_weights: several(
      'even, first, last, or a mapping',
      'For subword: which pieces count most. Default: even.',
      subwordWeights,
      object({ embedding: subwordWeights, head: subwordWeights }, [], 'The weights for embeddings and for heads.'),
    ),
  },
  ['source'],
  'A tokenizer with options.',
)

/** Definitions that `tokenizer` refers to. */
export const tokenizerDefinitions: Readonly<Record<string, Schema>> = {
  tokenizer: mapping,
  'token-choice': tokenChoice,
  'token-source': tokenSource,
}
