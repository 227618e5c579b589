/** Keys by which tokens of different tokenizers are matched. */
import { isObject } from '../core/json/text.js'
import { ROLES, type SpecialRole, type SpecialTokens } from './roles.js'
import type { Tokenizer } from './types.js'
import { inOrder } from './union.js'

/** The mark of a word's start in vocabularies of bytes. */
const BYTE_LEVEL = 'Ġ'
/** The mark of a word's start in the vocabularies of SentencePiece. */
const METASPACE = '▁'

type Json = Readonly<Record<string, unknown>>

/** The tokens of a vocabulary by key. */
export interface KeyedTokens {
  /** Tokens in the order of ids. */
  readonly tokens: readonly KeyedToken[]
  /** The token of each key with the lowest id. */
  readonly byKey: ReadonlyMap<string, KeyedToken>
}

export interface KeyedToken {
  readonly token: string
  readonly id: number
  readonly key: string
  /** What follows the mark of a word's start, for a token that has it. */
  readonly word?: string
}

/**
 * The keys of a tokenizer's tokens. A token that begins with the mark of a word's start has the rest of it as its key. A token with
 * a special role has the role as its key, and any other token its text.
 */
export function keyedTokens(tokenizer: Tokenizer, special: SpecialTokens): KeyedTokens {
  const mark = wordMark(tokenizer)
  const roles = new Map<string, SpecialRole>()
  for (const role of ROLES) {
    const token = special.get(role)
    if (token !== undefined && !roles.has(token)) roles.set(token, role)
  }
  const tokens = inOrder(tokenizer.ids).map(([token, id]): KeyedToken => {
    if (token.startsWith(mark)) {
      const rest = token.slice(mark.length)
      return { token, id, key: `word ${rest}`, word: rest }
    }
    const role = roles.get(token)
    return { token, id, key: role === undefined ? `text ${token}` : `role ${role}` }
  })
  const byKey = new Map<string, KeyedToken>()
  for (const keyed of tokens) if (!byKey.has(keyed.key)) byKey.set(keyed.key, keyed)
  return { tokens, byKey }
}

/** A vocabulary with its special tokens. */
export type Marked = readonly [tokenizer: Tokenizer, special: SpecialTokens]

/**
 * Finds the id that a token of one vocabulary has in another, where it may have another mark or another name for its role. Of several
 * roles, the first that both have counts.
 */
export function counterparts([own, mine]: Marked, [other, theirs]: Marked): (id: number) => number | undefined {
  const tokens = new Map([...own.ids].map(([token, id]) => [id, token]))
  const [mark, otherMark] = [wordMark(own), wordMark(other)]
  return (id) => {
    const token = tokens.get(id)
    if (token === undefined) return undefined
    if (token.startsWith(mark)) return other.ids.get(otherMark + token.slice(mark.length))
    for (const role of ROLES) {
      const found = mine.get(role) === token ? theirs.get(role) : undefined
      const moved = found === undefined ? undefined : other.ids.get(found)
      if (moved !== undefined) return moved
    }
    return other.ids.get(token)
  }
}

/** The mark of a word's start. The settings of the tokenizer decide, not the name of its class. */
export function wordMark({ kind, settings, lines, kept }: Tokenizer): string {
  if (!settings) return kind === 'BPE' && kept === undefined && lines === undefined ? BYTE_LEVEL : METASPACE
  const { pre_tokenizer: splitter, decoder, normalizer } = settings
  const parts = [splitter, decoder, normalizer].flatMap(partsOf)
  if (parts.some(({ type }) => type === 'ByteLevel')) return BYTE_LEVEL
  const space = parts.find(({ type }) => type === 'Metaspace')?.replacement
  if (typeof space === 'string' && space !== '') return space
  for (const { type, content, pattern } of parts) {
    if (type !== 'Replace' || !isObject(pattern) || typeof content !== 'string') continue
    const text = pattern.String ?? pattern.Regex
    // A normalizer writes the mark, and a decoder replaces it.
    if ((text === ' ' || text === '\\s') && content.trim() !== '') return content
    if (content === ' ' && typeof pattern.String === 'string' && pattern.String.trim() !== '') return pattern.String
  }
  return METASPACE
}

/** A component of tokenizer.json, and those inside it. */
function partsOf(value: unknown): Json[] {
  if (!isObject(value)) return []
  const inside = ['normalizers', 'pretokenizers', 'decoders'].flatMap((key) => {
    const list = value[key]
    return Array.isArray(list) ? list.flatMap(partsOf) : []
  })
  return [value, ...inside]
}
