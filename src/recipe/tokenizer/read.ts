import { didYouMean, quote } from '../../core/suggest.js'
import { booleanOf, type Cursor, entriesOf, get, isMapping, numberOf, textOf } from '../../language/cursor.js'
import type { Report } from '../../language/report.js'
import type { Path } from '../../language/types.js'
import { DEFAULT_K, MISSING, NEAREST_WEIGHTS, SUBWORD_WEIGHTS } from '../../steps/transplant/settings.js'
import type { Missing, TransplantSettings } from '../../steps/transplant/types.js'
import type { TokenChoice, TokenizerChoice } from '../types.js'

/** Keys that need one of these values of `missing`. */
const ONLY_WITH: Readonly<Record<string, readonly Missing[]>> = {
  k: ['omp', 'nearest'],
  nearest_weights: ['nearest'],
  subword_weights: ['subword'],
}

/** The tokenizer choice of a recipe, with the models that it refers to. Undefined if the recipe has none. */
export function readTokenizerChoice(
  at: Cursor | undefined,
  models: ReadonlyMap<string, unknown>,
  report: Report,
): TokenizerChoice | undefined {
  if (!at) return undefined
  const known = (cursor: Cursor | undefined, also: readonly string[]): string | undefined => {
    const name = textOf(cursor)
    if (cursor === undefined || name === undefined) return undefined
    if (models.has(name) || also.includes(name)) return name
    const hint = didYouMean(name, [...also, ...models.keys()], 'valid here')
    report.error('unknown-model', `there is no model ${quote(name)}`, cursor.path, { hint })
    return undefined
  }
  const own = isMapping(at) ? get(at, 'source') : at
  // With `missing`, the source is a model; the keywords have an error of their own.
  const words = get(at, 'missing') && !isKeyword(textOf(own)) ? [] : ['base', 'union']
  const source = known(own, words)
  const tokens = new Map<string, TokenChoice>()
  for (const [token, choice] of entriesOf(get(at, 'tokens'))) {
    const from = isMapping(choice) ? get(choice, 'source') : choice
    const force = isMapping(choice) ? (booleanOf(get(choice, 'force')) ?? false) : false
    const read = readSource(from, known, report)
    if (read) tokens.set(token, { from: read, force, at: choice.path })
  }
  const padTo = numberOf(get(at, 'pad_to_multiple_of')) ?? 1
  const transplant = readTransplant(at, source, padTo, report)
  return { source: source ?? 'base', tokens, padTo, ...(transplant ? { transplant } : {}), at: at.path }
}

/** A source that is not a model's name. */
const isKeyword = (source: string | undefined): boolean => source === 'base' || source === 'union'
const sourceAt = (at: Cursor): Path => (get(at, 'source') ?? at).path

/** The settings for tokens that the results lack. Errors: `missing-key`, `bad-value`, `contradiction`. */
function readTransplant(
  at: Cursor,
  source: string | undefined,
  padTo: number,
  report: Report,
): TransplantSettings | undefined {
  const missing = MISSING.find((one) => one === textOf(get(at, 'missing')))
  for (const [key, needs] of Object.entries(ONLY_WITH)) {
    const own = get(at, key)
    if (!own || (missing !== undefined && needs.includes(missing))) continue
    const message = `${quote(key)} has no effect ${missing === undefined ? 'without missing' : `with missing: ${missing}`}`
    const hint = `write missing: ${needs.join(' or missing: ')}, or remove ${key}`
    report.error('contradiction', message, own.path, { part: 'key', hint })
  }
  if (missing === undefined) return undefined
  if (isKeyword(source))
    report.error('bad-value', `missing needs another model's vocabulary, and the source is ${source}`, sourceAt(at), {
      hint: 'write source: NAME, the model whose vocabulary the result gets, or remove missing',
    })
  const tokens = get(at, 'tokens')
  if (tokens)
    report.error('contradiction', 'tokens and missing both say which rows tokens get', tokens.path, {
      part: 'key',
      hint: 'remove one of them',
    })
  const weights = get(at, 'subword_weights')
  const subword = (role: 'embedding' | 'head') => {
    const word = textOf(isMapping(weights) ? get(weights, role) : weights)
    return SUBWORD_WEIGHTS.find((one) => one === word) ?? 'even'
  }
  return {
    ...{ missing, padTo, k: numberOf(get(at, 'k')) ?? DEFAULT_K },
    nearestWeights: NEAREST_WEIGHTS.find((one) => one === textOf(get(at, 'nearest_weights'))) ?? 'distance',
    subwordWeights: { embedding: subword('embedding'), head: subword('head') },
  }
}

function readSource(
  at: Cursor | undefined,
  known: (at: Cursor | undefined, also: readonly string[]) => string | undefined,
  report: Report,
): TokenChoice['from'] | undefined {
  if (!isMapping(at)) {
    const model = known(at, ['base'])
    return model === undefined ? undefined : { kind: 'model', model }
  }
  if (textOf(get(at, 'kind')) === 'zero') return { kind: 'zero' }
  const model = known(get(at, 'model'), ['base'])
  const [token, id] = [textOf(get(at, 'token')), numberOf(get(at, 'token_id'))]
  if ((token === undefined) === (id === undefined)) {
    report.error('bad-value', 'a model token needs exactly one of token and token_id', at.path, {
      hint: 'write {model: NAME, token: TEXT} or {model: NAME, token_id: NUMBER}',
    })
    return undefined
  }
  if (model === undefined) return undefined
  return { kind: 'model', model, ...(token === undefined ? {} : { token }), ...(id === undefined ? {} : { id }) }
}

/** The models that a recipe's tokenizer and chat template need, without `base`. */
export function tokenizerModels(
  choice: TokenizerChoice | undefined,
  chatTemplate: string | undefined,
  models: ReadonlyMap<string, unknown>,
): string[] {
  const tokens = [...(choice?.tokens.values() ?? [])]
  const named = [choice?.source, chatTemplate, ...tokens.map(({ from }) => (from.kind === 'model' ? from.model : ''))]
  return named.filter((name): name is string => name !== undefined && name !== 'base' && models.has(name))
}
