import type { Checkpoint } from '../checkpoints/types.js'
import { Fault } from '../core/diagnostics.js'
import { quote } from '../core/suggest.js'
import type { Recipe, TokenizerChoice } from '../recipe/types.js'
import { hasVocabulary, readTokenizer } from '../tokenizers/read.js'
import type { Tokenizer, TokenizerFiles } from '../tokenizers/types.js'
import { unite } from '../tokenizers/union.js'
import type { Faults } from './report.js'
import { EMBEDDING, HEAD } from './tied.js'
import type { Value } from './values.js'

/** What else has a row a token, where its rows are as many. */
const WITH_ROWS = /(^|\.)(lm_head|embed_out|output_layer|predictions|predictions\.decoder)\.(weight|bias)$/

const hasRows = (name: string): boolean => EMBEDDING.test(name) || HEAD.test(name)

/** A model as its embeddings see it. */
export interface Embedded {
  readonly value: Value
  readonly tokenizer: Tokenizer
  /** Of its embeddings, padding too. */
  readonly rows: number
  /** Names of tensors whose first axis is the vocabulary. */
  readonly tensors: ReadonlySet<string>
}

export interface Vocabulary {
  readonly choice: TokenizerChoice
  /** The model whose tokenizer comes first. */
  readonly first: string
  /** The result's. */
  readonly tokenizer: Tokenizer
  /** Tokens that the first model lacks. */
  readonly gained: readonly string[]
  /** Of the result's embeddings. */
  readonly rows: number
  /** The first model's before the others': in this order rows are looked for. Of models that have embeddings. */
  readonly models: ReadonlyMap<string, Embedded>
  /** Those of them that take part in the merge. */
  readonly participants: ReadonlySet<string>
}

/**
 * The vocabulary that the recipe asks for; undefined where it asks for nothing, or for the base's of a base that has none.
 * Faults: `no-tokenizer`, `bad-tokenizer`.
 */
export function planVocabulary(
  recipe: Recipe,
  base: string,
  participants: readonly string[],
  values: ReadonlyMap<string, Value>,
  checkpoints: ReadonlyMap<string, Checkpoint>,
  files: ReadonlyMap<string, TokenizerFiles>,
  faults: Faults,
): Vocabulary | undefined {
  const choice = recipe.tokenizer
  if (!choice) return undefined
  const place = recipe.placeOf(choice.at)
  const first = choice.source === 'base' || choice.source === 'union' ? base : choice.source
  const plain = choice.source === 'base' && choice.tokens.size === 0 && choice.padTo === 1
  const named = [...choice.tokens.values()].flatMap(({ from }) => (from.kind === 'model' ? [from.model] : []))
  const order = [...new Set([base, ...participants, first, ...named.map((name) => (name === 'base' ? base : name))])]
  const tokenizers = new Map<string, Tokenizer>()
  for (const name of order) {
    const texts = files.get(name) ?? {}
    if (!hasVocabulary(texts)) continue
    try {
      tokenizers.set(name, readTokenizer(texts, name))
    } catch (error) {
      if (!(error instanceof Fault)) throw error
      for (const { code, message, hint } of error.diagnostics) faults.error(code, message, place, hint)
      return undefined
    }
  }
  const own = tokenizers.get(first)
  if (!own) {
    if (plain) return undefined
    const message = `the model ${quote(first)} has no tokenizer`
    faults.error(
      'no-tokenizer',
      message,
      place,
      'put its tokenizer.json, or vocab.json and merges.txt, vocab.txt or tokenizer.model, into its folder',
    )
    return undefined
  }
  const models = new Map<string, Embedded>()
  for (const name of order) {
    const value = values.get(name)
    const embedded = value && embeddingsOf(value, checkpoints.get(name)?.config)
    if (!embedded) continue
    const tokenizer = tokenizers.get(name)
    if (tokenizer) models.set(name, { value, tokenizer, ...embedded })
    else if (!plain) {
      const hint = 'put its tokenizer.json, or vocab.json and merges.txt, vocab.txt or tokenizer.model, into its folder'
      faults.error('no-tokenizer', `the model ${quote(name)} has no tokenizer to find its rows by`, place, hint)
    }
  }
  const others = participants.flatMap((name) => (name === first ? [] : (tokenizers.get(name) ?? [])))
  const { tokenizer, gained } = choice.source === 'union' ? unite(own, others) : { tokenizer: own, gained: [] }
  const { padTo } = choice
  const padded = Math.ceil(tokenizer.size / padTo) * padTo
  const there = models.get(first)?.rows
  // Rows beyond the tokens stay, since the model was made with them, unless the recipe says how many there are to be.
  const rows = padTo > 1 ? padded : choice.source === 'union' ? Math.max(padded, there ?? 0) : (there ?? padded)
  return { choice, first, tokenizer, gained, rows, models, participants: new Set(participants) }
}

function embeddingsOf(
  { tensors }: Value,
  config: Checkpoint['config'],
): { rows: number; tensors: ReadonlySet<string> } | undefined {
  const sizes = [...tensors].flatMap(([name, { shape }]) => (hasRows(name) ? [shape[0] ?? 0] : []))
  const stated = vocabularySize(config)
  const rows = sizes.find((size) => size === stated) ?? sizes[0]
  if (rows === undefined) return undefined
  const has = ([name, { shape }]: [string, { shape: readonly number[] }]): boolean =>
    shape[0] === rows && (hasRows(name) || WITH_ROWS.test(name))
  return { rows, tensors: new Set([...tensors].filter(has).map(([name]) => name)) }
}

/** Of models that see and read, the text part's. */
const vocabularySize = (config: Checkpoint['config']): unknown =>
  config?.vocab_size ?? (config?.text_config as Checkpoint['config'] | undefined)?.vocab_size
