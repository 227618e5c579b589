/**
 * Texts to token ids, by the JavaScript library of Hugging Face. Where it differs from the library in Rust, which models are trained
 * with, the tokenizer's document is rewritten to what both do alike; where that is not possible, the tokenizer or the text is refused.
 */
import { runInNewContext } from 'node:vm'
import { fault } from '../core/diagnostics.js'
import { encodable, type Traits } from './encodable.js'
import type { AddedToken, Tokenizer } from './types.js'
import { cutUnigram } from './unigram.js'

/** A prompt is short; a piece of a vocabulary is shorter. In UTF-16 units. */
const LONGEST_TEXT = 1_000_000
/** The tokenizer's patterns are untrusted, and a pattern can take forever. */
const MILLISECONDS = 60_000

export interface Encoder {
  readonly tokenizer: Tokenizer
  /** The text of the token that starts a text; empty if there is none. */
  readonly start: string
  /**
   * The ids of each text. No special tokens are added; the text of a special token counts as that token. An empty text has none.
   * Error: `bad-tokenizer`, for a text that the libraries could cut differently.
   */
  ids(texts: readonly string[]): readonly (readonly number[])[]
}

/** The library that cuts texts. It is loaded only for recipes that need it. */
export type Library = new (
  document: object,
  config: object,
) => { readonly model?: object | undefined; tokenize(text: string): string[] }

export const loadLibrary = async (): Promise<Library> => (await import('@huggingface/tokenizers')).Tokenizer

/**
 * What cuts texts as a tokenizer does, which needs its tokenizer.json. `start`: the text of the token that starts a text. `shown`:
 * the model's name. Error: `bad-tokenizer`.
 */
export function openEncoder(tokenizer: Tokenizer, start: string, shown: string, Library: Library): Encoder {
  const { settings } = tokenizer
  const refuse = (what: string, hint: string): never => {
    throw fault('bad-tokenizer', `${shown}: ${what}`, hint)
  }
  if (!settings)
    return refuse(
      'texts are cut into tokens only with a tokenizer.json, which it lacks',
      'save its tokenizer.json: AutoTokenizer.from_pretrained(…, use_fast=True).save_pretrained(…)',
    )
  const { document, traits } = encodable(tokenizer, settings, (what) =>
    refuse(`terge cannot cut texts with this tokenizer: ${what}`, 'use a model with another tokenizer'),
  )
  const library = limited(() => new Library(document, {}), refuse)
  if (library.model && tokenizer.scores) Object.assign(library.model, { tokenize: cutUnigram(...scoresOf(tokenizer)) })
  const idsOf = (tokens: readonly string[], text: string): readonly number[] =>
    tokens.map((token) => {
      const id = tokenizer.ids.get(token) ?? traits.unknownId
      if (id === undefined || (traits.fusesUnknown && token === traits.unknown))
        return refuse(`the text ${quoted(text)} has characters that the vocabulary lacks`, 'change the text')
      return id
    })
  const local = tokenizer.added.filter(({ flags }) => countsInPlaces(flags, traits))
  return {
    tokenizer,
    start,
    ids(texts) {
      for (const text of texts) {
        const reason = unclear(text, local, traits)
        if (reason !== undefined) refuse(`the text ${quoted(text)} ${reason}`, 'change the text')
      }
      const cut = limited(() => texts.map((text) => library.tokenize(text)), refuse)
      return cut.map((tokens, at) => idsOf(tokens, texts[at]!))
    },
  }
}

/** Scores by piece, and that of a character that no piece has. */
function scoresOf({ pieces, scores }: Tokenizer): [Map<string, number>, number] {
  let least = 0
  for (const score of scores!) least = Math.min(least, score)
  return [new Map([...pieces].map(([piece, id]) => [piece, asRead(scores![id]!)])), least - 10]
}

/**
 * A number as the library in Rust reads its text: all digits as an integer, divided by a power of ten, rounded twice. The last bit
 * decides between cuts of the same pieces in another order.
 */
function asRead(score: number): number {
  const [, sign, whole, part = ''] = /^(-?)(\d+)(?:\.(\d+))?$/.exec(String(score)) ?? []
  if (whole === undefined || part.length > 22) return score
  const value = Number(whole + part) / 10 ** part.length
  return sign === '-' ? -value : value
}

/** The result of untrusted work that ends in time: V8 stops even a pattern that backtracks. */
function limited<T>(work: () => T, refuse: (what: string, hint: string) => never): T {
  const box: { result?: T } = {}
  const fill = () => {
    box.result = work()
  }
  try {
    runInNewContext('work()', { work: fill }, { timeout: MILLISECONDS })
  } catch (error) {
    const { message } = error as Error
    refuse(`its tokenizer.json: ${message.slice(0, 200)}`, 'correct the file, or name another tokenizer')
  }
  return box.result as T
}

const quoted = (text: string): string => JSON.stringify(text.length > 60 ? `${text.slice(0, 60)}…` : text)

/** Whether an added token counts only in some places of a text. */
const countsInPlaces = (flags: AddedToken['flags'], { marksFirst, normalizes }: Traits): boolean =>
  flags.single_word === true || (marksFirst && flags.normalized === true && normalizes)

/** Why two libraries could cut a text differently; undefined if they agree. */
function unclear(text: string, local: readonly AddedToken[], traits: Traits): string | undefined {
  if (text.length > LONGEST_TEXT) return `has more than ${LONGEST_TEXT} characters`
  if (/\p{Cs}/u.test(text)) return 'is not valid Unicode'
  const odd = /\uFEFF|\u0085|[\u1AC0-\u1AFF]|[\u{1F8B0}-\u{1F8FF}]|\p{Cn}/u.exec(text)?.[0]
  if (odd !== undefined)
    return `has ${point(odd)}, a character of which libraries do not agree whether it is a space or a letter`
  const changed = traits.lowers ? /[Σİ]|[\u{20000}-\u{3FFFF}]/u.exec(text)?.[0] : undefined
  if (changed !== undefined) return `has ${point(changed)}, which libraries do not write alike in small letters`
  const found = local.find(({ content }) => text.includes(content))
  return found && `has the added token ${quoted(found.content)}, which counts there only in some places`
}

const point = (character: string): string =>
  `U+${character.codePointAt(0)!.toString(16).toUpperCase().padStart(4, '0')}`
