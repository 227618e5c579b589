import type { Checkpoint } from '../../checkpoints/types.js'
import type { Place } from '../../core/diagnostics.js'
import { quote } from '../../core/suggest.js'
import { agree, plural } from '../../core/words.js'
import type { Value } from '../../expr/values.js'
import { type Faults, reportFault } from '../../language/faults.js'
import { type TokenRows, tokenRowsOf } from '../../networks/tokenRows.js'
import type { Recipe, TokenizerChoice } from '../../recipe/types.js'
import type { Tokenizers } from '../../tokenizers/opened.js'
import { farIds, noTokenizer, renumberedText } from '../../tokenizers/problems.js'
import type { Tokenizer } from '../../tokenizers/types.js'
import { unite, withAdded, withinRows } from '../../tokenizers/union.js'
import { tokenizerTexts } from '../../tokenizers/write.js'

/** A model with embeddings. */
export interface Embedded extends TokenRows {
  readonly value: Value
  readonly tokenizer: Tokenizer
}

export interface Vocabulary {
  readonly choice: TokenizerChoice
  /** The model whose tokenizer comes first. */
  readonly first: string
  /** The tokenizer of the result. */
  readonly tokenizer: Tokenizer
  /** Tokens that the first model lacks. */
  readonly gained: readonly string[]
  /** New tokenizer files. Absent if the first model's files can be copied. */
  readonly texts?: Readonly<Record<string, string>>
  /** Rows of the result's embeddings. */
  readonly rows: number
  /** The models that have embeddings, the base first: terge looks for rows in this order. */
  readonly models: ReadonlyMap<string, Embedded>
  /** The merged models among them. */
  readonly merged: ReadonlySet<string>
}

/**
 * The vocabulary that the recipe asks for. Undefined if it asks for none, or for the base's and the base has none.
 * Errors: `no-tokenizer`, `bad-tokenizer`. Warnings: `assumed-tokenizer`, `token-ids`, `tokens-without-rows`.
 */
export function planVocabulary(
  recipe: Recipe,
  base: string,
  merged: readonly string[],
  values: ReadonlyMap<string, Value>,
  checkpoints: ReadonlyMap<string, Checkpoint>,
  opened: Tokenizers,
  faults: Faults,
): Vocabulary | undefined {
  const choice = recipe.tokenizer
  if (!choice) return undefined
  const place = recipe.placeOf(choice.at)
  const first = choice.source === 'base' || choice.source === 'union' ? base : choice.source
  const plain = choice.source === 'base' && choice.tokens.size === 0 && choice.padTo === 1
  const named = [...choice.tokens.values()].flatMap(({ from }) => (from.kind === 'model' ? [from.model] : []))
  const order = [...new Set([base, ...merged, first, ...named.map((name) => (name === 'base' ? base : name))])]
  const tokenizers = new Map<string, Tokenizer>()
  for (const name of order) {
    try {
      const tokenizer = opened.of(name)
      if (tokenizer) tokenizers.set(name, tokenizer)
    } catch (error) {
      return reportFault(faults, error, place)
    }
  }
  const own = tokenizers.get(first)
  if (!own) {
    if (plain) return undefined
    return reportFault(faults, noTokenizer(first), place)
  }
  const { models, assumed } = embedded(recipe, order, first, { values, checkpoints, tokenizers }, faults, plain)
  for (const name of assumed) tokenizers.set(name, tokenizers.get(base) ?? own)
  warnOfNumbers(tokenizers, place, faults)
  const there = models.get(first)?.rows
  const made = compose(choice, own, first, merged, { models, tokenizers }, faults, place)
  const { tokenizer, gained } = made
  const texts = made.changed ? tokenizerTexts(tokenizer) : undefined
  if (made.changed && !texts) {
    const hint = 'save its tokenizer.json: AutoTokenizer.from_pretrained(…).save_pretrained(…)'
    const message = `${first}: its tokenizer format can't give every token the id of its row`
    faults.error('bad-tokenizer', message, place, hint)
    return undefined
  }
  const far = models.size > 0 ? farIds(tokenizer, there ?? 0, first) : undefined
  if (far) return reportFault(faults, far, place)
  const { padTo } = choice
  const padded = Math.ceil(tokenizer.size / padTo) * padTo
  // Rows beyond the tokens are kept, since the model was trained with them, unless the recipe sets the number of rows.
  const grows = choice.source === 'union' || made.listed
  const rows = padTo > 1 ? padded : grows ? Math.max(padded, there ?? 0) : (there ?? padded)
  return { choice, first, tokenizer, gained, ...(texts ? { texts } : {}), rows, models, merged: new Set(merged) }
}

interface Parts {
  readonly values: ReadonlyMap<string, Value>
  readonly checkpoints: ReadonlyMap<string, Checkpoint>
  readonly tokenizers: ReadonlyMap<string, Tokenizer>
}

/** The models that have embeddings. `assumed`: models without a tokenizer that have as many rows as the base. */
function embedded(
  recipe: Recipe,
  order: readonly string[],
  first: string,
  { values, checkpoints, tokenizers }: Parts,
  faults: Faults,
  plain: boolean,
): { models: ReadonlyMap<string, Embedded>; assumed: readonly string[] } {
  const models = new Map<string, Embedded>()
  const assumed: string[] = []
  const place = recipe.placeOf(recipe.tokenizer!.at)
  const [base = first] = order
  for (const name of order) {
    const value = values.get(name)
    const embedded = value && tokenRowsOf(value, checkpoints.get(name)?.config)
    if (!embedded) continue
    const tokenizer = tokenizers.get(name)
    if (tokenizer) models.set(name, { value, tokenizer, ...embedded })
    else if (!plain && models.get(base)?.rows === embedded.rows) {
      models.set(name, { value, tokenizer: models.get(base)!.tokenizer, ...embedded })
      assumed.push(name)
      const message = `the model ${quote(name)} has no tokenizer: terge uses the tokenizer of ${quote(base)} for its ${plural(embedded.rows, 'row')}`
      faults.warn(
        'assumed-tokenizer',
        message,
        place,
        'if the model has another tokenizer, put its files into the model folder',
        name,
      )
    } else if (!plain) reportFault(faults, noTokenizer(name, ", so terge can't match its rows to tokens"), place)
  }
  return { models, assumed }
}

/** Rows follow the ids of the loaded tokenizer, which may differ from those in its file. */
function warnOfNumbers(tokenizers: ReadonlyMap<string, Tokenizer>, place: Place, faults: Faults): void {
  for (const [name, tokenizer] of tokenizers) {
    const message = renumberedText(tokenizer, name)
    if (message !== undefined) faults.warn('token-ids', message, place, undefined, name)
  }
}

interface Composed {
  readonly tokenizer: Tokenizer
  readonly gained: readonly string[]
  /** The first model's files do not describe this tokenizer. */
  readonly changed: boolean
  /** The recipe lists tokens that no tokenizer has. */
  readonly listed: boolean
}

/**
 * The vocabulary of the result: the first model's without tokens that have no row, the other models' for a union, and
 * the tokens that the recipe lists.
 */
function compose(
  choice: TokenizerChoice,
  own: Tokenizer,
  first: string,
  merged: readonly string[],
  { models, tokenizers }: { models: Vocabulary['models']; tokenizers: ReadonlyMap<string, Tokenizer> },
  faults: Faults,
  place: Place,
): Composed {
  const without = new Map<string, readonly string[]>()
  const within = (name: string, tokenizer: Tokenizer, keep: ReadonlySet<string>): Tokenizer => {
    const rows = models.get(name)?.rows
    if (rows === undefined) return tokenizer
    const { tokenizer: left, dropped } = withinRows(tokenizer, rows, keep)
    without.set(name, dropped)
    return left
  }
  const kept = within(first, own, own.mentioned)
  const others =
    choice.source === 'union'
      ? merged.flatMap((name) => {
          const tokenizer = name === first ? undefined : tokenizers.get(name)
          return tokenizer ? [within(name, tokenizer, new Set())] : []
        })
      : []
  const known = (token: string): boolean => [kept, ...others].some(({ ids }) => ids.has(token))
  const listed = [...choice.tokens.keys()].filter((token) => token !== '' && !known(token))
  const asked = choice.source === 'union' || listed.length > 0
  const united = asked ? unite(kept, others) : { tokenizer: kept, gained: [], changed: false }
  const tokenizer = listed.length > 0 ? withAdded(united.tokenizer, listed) : united.tokenizer
  for (const [name, dropped] of without) {
    // A token may still be present because another model has a row for it, or because the recipe lists it.
    const gone = dropped.filter((token) => !tokenizer.ids.has(token))
    const [token] = gone
    if (token === undefined) continue
    const word = (one: string, many: string): string => agree(gone.length, one, many)
    const message = `${plural(gone.length, 'token')} of ${name} ${word('has', 'have')} no embedding row and ${word('is', 'are')} skipped, such as ${quote(token)}`
    faults.warn('tokens-without-rows', message, place, undefined, name)
  }
  return {
    tokenizer,
    gained: [...united.gained, ...listed],
    changed: kept !== own || united.changed || listed.length > 0,
    listed: listed.length > 0,
  }
}
