/** A tokenizer's document as the libraries in Rust and JavaScript read it alike, or why there is none. */
import { isObject } from '../core/json/text.js'
import type { Tokenizer, TokenizerSettings } from './types.js'

type Json = Readonly<Record<string, unknown>>
type Refuse = (what: string) => never

/** What of a tokenizer makes some texts unclear. */
export interface Traits {
  readonly normalizes: boolean
  readonly lowers: boolean
  /** Only the text's first section gets the mark of a word's start. */
  readonly marksFirst: boolean
  /** Neighbouring unknown characters become one token, within a word in one library and across words in the other. */
  readonly fusesUnknown: boolean
  readonly unknown: string | undefined
  /** Unigram: the id of what is not in the vocabulary. */
  readonly unknownId: number | undefined
}

export interface Encodable {
  /** For the library: with pieces, merges and added tokens as terge read them. */
  readonly document: Json
  readonly traits: Traits
}

export function encodable(tokenizer: Tokenizer, settings: TokenizerSettings, refuse: Refuse): Encodable {
  const { normalizer, pre_tokenizer: cutter, model } = settings
  const normalizers = listed(normalizer, 'normalizers')
  const cutters = listed(cutter, 'pretokenizers')
  for (const part of normalizers) checkNormalizer(part, refuse)
  const spaceless = normalizers.slice(-1).some(replacesSpaces)
  const cuts = cutters.map((part) => (spaceless && cutsAtSpaces(part) ? [] : cutterOf(part, refuse)))
  const types = normalizers.map(typeOf)
  const read = modelOf(tokenizer, model, cutters, refuse)
  const sequence = (type: string, parts: readonly Json[]) =>
    parts.length === 0 ? null : { type: 'Sequence', [type]: parts }
  return {
    document: {
      normalizer: sequence('normalizers', normalizers),
      pre_tokenizer: sequence('pretokenizers', cuts.flat()),
      model: read.model,
      post_processor: null,
      decoder: null,
      added_tokens: tokenizer.added.map(({ content, id, flags }) => ({ content, id, ...flags })),
    },
    traits: {
      normalizes: normalizers.length > 0,
      lowers: types.includes('Lowercase') || types.includes('BertNormalizer'),
      marksFirst: cutters.some((part) => schemeOf(part) === 'first'),
      fusesUnknown: read.fuses && cutters.length > 0,
      unknown: read.unknown,
      unknownId: read.unknownId,
    },
  }
}

/** The parts of a normalizer or pre-tokenizer, out of its sequences. */
function listed(part: unknown, key: 'normalizers' | 'pretokenizers'): Json[] {
  if (!isObject(part)) return []
  if (part.type !== 'Sequence') return [part]
  const inner = part[key]
  return Array.isArray(inner) ? inner.flatMap((part: unknown) => listed(part, key)) : []
}

const typeOf = ({ type }: Json): string => String(type)

const NORMALIZERS = new Set([
  ...['NFC', 'NFD', 'NFKC', 'NFKD', 'Lowercase', 'Strip', 'StripAccents', 'Prepend', 'Replace', 'BertNormalizer'],
])

function checkNormalizer(part: Json, refuse: Refuse): void {
  if (!NORMALIZERS.has(typeOf(part))) refuse(`its normalizer ${typeOf(part)} is not supported`)
  // In JavaScript, $ in the new text stands for what was found.
  if (part.type === 'Replace' && String(part.content ?? '').includes('$')) refuse('its normalizer writes “$”')
}

const patternOf = ({ pattern }: Json): unknown => (isObject(pattern) ? pattern.String : undefined)

/** Gemma's normalizer replaces all spaces, so that a pre-tokenizer which cuts at spaces finds none. */
const replacesSpaces = (part: Json): boolean =>
  part.type === 'Replace' && patternOf(part) === ' ' && typeof part.content === 'string' && !part.content.includes(' ')
const cutsAtSpaces = (part: Json): boolean => part.type === 'Split' && patternOf(part) === ' ' && part.invert !== true

const ASCII_SIGNS = '\\u0021-\\u002F\\u003A-\\u0040\\u005B-\\u0060\\u007B-\\u007E'
const isolated = (Regex: string): Json => ({ type: 'Split', pattern: { Regex }, behavior: 'Isolated', invert: false })

/** A pre-tokenizer in parts that both libraries do alike. */
function cutterOf(part: Json, refuse: Refuse): Json[] {
  const unsupported = (what: string): never => refuse(`its pre-tokenizer ${typeOf(part)} ${what}`)
  switch (part.type) {
    case 'ByteLevel':
      return [{ ...part, add_prefix_space: part.add_prefix_space ?? true, use_regex: part.use_regex ?? true }]
    case 'WhitespaceSplit':
    case 'BertPreTokenizer':
      return [part]
    case 'Digits':
      return [isolated(part.individual_digits === true ? '\\p{N}' : '\\p{N}+')]
    case 'Punctuation': {
      const contiguous = part.behavior === 'Contiguous'
      if (!contiguous && (part.behavior ?? 'Isolated') !== 'Isolated')
        return unsupported(`with ${part.behavior} is not supported`)
      return [isolated(`[\\p{P}${ASCII_SIGNS}]${contiguous ? '+' : ''}`)]
    }
    case 'Split': {
      const whole =
        part.behavior === 'Removed' ? part.invert === true : part.behavior === 'Isolated' && part.invert !== true
      return whole ? [part] : unsupported(`with ${part.behavior} is not supported`)
    }
    case 'Metaspace': {
      const mark = typeof part.replacement === 'string' ? part.replacement : ''
      if (!/^[▁_]$/.test(mark)) return unsupported('marks words by another character than ▁')
      const marked = { type: 'Metaspace', replacement: mark, prepend_scheme: schemeOf(part) }
      // The library in JavaScript does not cut at the marks.
      return part.split === false ? [marked] : [marked, isolated(`${mark}[^${mark}]*|[^${mark}]+`)]
    }
    default:
      return unsupported('is not supported')
  }
}

/** Where a Metaspace writes a mark before the text. Older files have only `add_prefix_space`. */
function schemeOf({ type, prepend_scheme: scheme, add_prefix_space: add }: Json): unknown {
  if (type !== 'Metaspace') return undefined
  return scheme ?? (add === false ? 'never' : 'always')
}

interface ReadModel {
  readonly model: Json
  readonly fuses: boolean
  readonly unknown?: string | undefined
  readonly unknownId?: number
}

function modelOf(
  { kind, pieces, scores, merges }: Tokenizer,
  model: Json,
  cutters: readonly Json[],
  refuse: Refuse,
): ReadModel {
  if (typeof model.dropout === 'number' && model.dropout > 0) refuse('its merges are dropped at random')
  const vocab = Object.fromEntries(pieces)
  const unknown = typeof model.unk_token === 'string' ? model.unk_token : undefined
  if (unknown !== undefined && !pieces.has(unknown)) refuse('its unknown token is not in its vocabulary')
  switch (kind) {
    case 'BPE': {
      if (model.continuing_subword_prefix) refuse('its merges have a prefix')
      const { end_of_word_suffix, unk_token, fuse_unk, byte_fallback, ignore_merges } = model
      const options = { end_of_word_suffix, unk_token, fuse_unk, byte_fallback, ignore_merges }
      return { model: { type: 'BPE', vocab, merges, ...options }, fuses: fuse_unk === true, unknown }
    }
    case 'WordPiece': {
      if (unknown === undefined || typeof model.continuing_subword_prefix !== 'string')
        return refuse('its WordPiece has no prefix')
      return { model: { ...model, type: 'WordPiece', vocab }, fuses: false, unknown }
    }
    case 'Unigram': {
      const { unk_id: id } = model
      if (model.byte_fallback === true) refuse('its Unigram writes unknown characters as bytes')
      if (typeof id !== 'number' || !(id in scores!)) refuse('its Unigram has no unknown token')
      if (!pieces.has('▁') || typeOf(cutters.at(-1) ?? {}) !== 'Metaspace') refuse('its Unigram does not cut at words')
      const byId = new Map([...pieces].map(([piece, id]) => [id, piece]))
      // Of equal pieces, only the last has its text; the library needs a text for each.
      const list = scores!.map((score, id) => [byId.get(id) ?? '', score])
      return { model: { type: 'Unigram', vocab: list, unk_id: id }, fuses: false, unknownId: id }
    }
    default:
      return refuse(`it is of type ${kind}`)
  }
}
