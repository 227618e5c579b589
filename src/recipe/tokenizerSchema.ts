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
} from '../language/schemaParts.js'

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
