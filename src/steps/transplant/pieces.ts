/** The pieces into which a model's own tokenizer cuts the tokens that it lacks. */
import { Fault } from '../../core/diagnostics.js'
import { quote } from '../../core/suggest.js'
import { plural } from '../../core/words.js'
import type { Encoder } from '../../tokenizers/encode.js'
import { type KeyedToken, wordMark } from '../../tokenizers/keys.js'
import { withEncoder } from '../shared/texts.js'
import type { PlanContext } from '../types.js'
import type { Side } from './match.js'
import type { TransplantStep } from './types.js'

/** Texts that are cut at once. */
const BATCH = 1024

/**
 * The model's rows of each token's pieces. Empty for a token that can't be cut: it gets the mean of all rows. Error:
 * `bad-tokenizer`. Warning: `tokens-without-pieces`.
 */
export function piecesOf(
  step: TransplantStep,
  context: PlanContext,
  { name, rows }: Side,
  tokens: readonly KeyedToken[],
): readonly (readonly number[])[] | undefined {
  const { recipe, faults } = context
  const place = recipe.placeOf(step.at)
  const pieces = withEncoder(context, step, step.model, 'write missing: omp, nearest or mean', (encoder) =>
    encoder ? cutAll(encoder, tokens) : [],
  )
  if (!pieces) return undefined
  const found = pieces.map((ids) => ids.filter((id) => id < rows))
  const lost = tokens.filter((_, at) => found[at]!.length === 0)
  if (lost.length > 0)
    faults.warn(
      'tokens-without-pieces',
      `${name} cuts ${plural(lost.length, 'token')} of ${step.donor} into no token with a row, such as ${quote(lost[0]!.token)}: the mean of all rows is used`,
      place,
      undefined,
      name,
    )
  return found
}

function cutAll(encoder: Encoder, tokens: readonly KeyedToken[]): (readonly number[])[] {
  const pieces: (readonly number[])[] = []
  const adds = addsMark(encoder)
  // A tokenizer that puts the mark of a word's start before every text would put it there twice.
  const textOf = ({ word, token }: KeyedToken): string =>
    word === undefined ? token : adds && word !== '' ? word : ` ${word}`
  for (let from = 0; from < tokens.length; from += BATCH)
    pieces.push(...cut(encoder, tokens.slice(from, from + BATCH).map(textOf)))
  return pieces
}

/** Whether the tokenizer begins a text without a space with the mark of a word's start. */
function addsMark(encoder: Encoder): boolean {
  const mark = wordMark(encoder.tokenizer)
  const tokens = new Map([...encoder.tokenizer.ids].map(([token, id]) => [id, token]))
  return cut(encoder, ['a'])[0]!
    .slice(0, 1)
    .some((id) => tokens.get(id)?.startsWith(mark))
}

/** The ids of each text. A text that libraries could cut differently has none: it is found by halving. */
function cut(encoder: Encoder, texts: readonly string[]): (readonly number[])[] {
  try {
    return [...encoder.ids(texts)]
  } catch (error) {
    if (!(error instanceof Fault)) throw error
    if (texts.length < 2) return texts.map(() => [])
    const half = texts.length >> 1
    return [...cut(encoder, texts.slice(0, half)), ...cut(encoder, texts.slice(half))]
  }
}
