/** Keys by which tokens of different tokenizers are matched. */
import { isObject } from '../core/json/text.js'
import { readObject } from './read.js'
import type { Tokenizer, TokenizerFiles } from './types.js'
import { inOrder } from './union.js'

/** The mark of a word's start in vocabularies of bytes. */
const BYTE_LEVEL = 'Ġ'
/** The mark of a word's start in the vocabularies of SentencePiece. */
const METASPACE = '▁'

/** Special roles. If a token has several, the first counts. */
const ROLES = ['bos', 'eos', 'unk', 'sep', 'pad', 'cls', 'mask'] as const

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
export function keyedTokens(tokenizer: Tokenizer, files: TokenizerFiles, shown: string): KeyedTokens {
  const mark = wordMark(tokenizer)
  const roles = rolesOf(files, shown)
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

/** The mark of a word's start. The settings of the tokenizer decide, not the name of its class. */
export function wordMark({ kind, settings, lines, kept }: Tokenizer): string {
  if (!settings) return kind === 'BPE' && kept === undefined && lines === undefined ? BYTE_LEVEL : METASPACE
  const { pre_tokenizer: splitter, decoder, normalizer } = settings
  const parts = [splitter, decoder, normalizer].flatMap(partsOf)
  if (parts.some(({ type }) => type === 'ByteLevel')) return BYTE_LEVEL
  const space = parts.find(({ type }) => type === 'Metaspace')?.replacement
  if (typeof space === 'string' && space !== '') return space
  const replaced = parts.find(({ type, content, pattern }) => {
    return type === 'Replace' && isObject(pattern) && pattern.String === ' ' && content !== ''
  })
  return typeof replaced?.content === 'string' ? replaced.content : METASPACE
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

/** The role of each special token in tokenizer_config.json, or in special_tokens_map.json if that has none. */
function rolesOf(files: TokenizerFiles, shown: string): ReadonlyMap<string, string> {
  const read = (name: string): Json => (files[name] === undefined ? {} : readObject(files[name], `${shown}: ${name}`))
  const [config, map] = [read('tokenizer_config.json'), read('special_tokens_map.json')]
  const roles = new Map<string, string>()
  for (const role of ROLES) {
    const key = `${role}_token`
    const value = Object.hasOwn(config, key) ? config[key] : map[key]
    const content = isObject(value) ? value.content : value
    if (typeof content === 'string' && content !== '' && !roles.has(content)) roles.set(content, role)
  }
  return roles
}
