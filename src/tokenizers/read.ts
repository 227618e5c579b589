import { Buffer } from 'node:buffer'
import { fault } from '../core/diagnostics.js'
import { isObject, parseJson } from '../core/json/text.js'
import { isLfsPointer, LFS_HINT, LFS_POINTER } from '../storage/lfs.js'
import { loadedIds } from './loaded.js'
import { readSentencePieces } from './sentencepiece.js'
import type { AddedToken, Tokenizer, TokenizerFiles, TokenizerKind, TokenizerSettings } from './types.js'

/** The largest vocabularies have 262,144 tokens. */
const MOST_TOKENS = 4e6
/** Ids may have gaps, but each id costs an embedding row. */
const HIGHEST_ID = 2 ** 24

/** A vocabulary of 262,144 tokens with 600,000 merges, each a list of two, has 2.1 million values. */
const MOST_VALUES = 8e6
/** T5 has 100. */
const MOST_SENTINELS = 1000

const KINDS: readonly TokenizerKind[] = ['BPE', 'WordPiece', 'WordLevel', 'Unigram']

type Json = Readonly<Record<string, unknown>>

/** SentencePiece files are binary: their texts have one character per byte. */
const SENTENCEPIECE_FILES = ['tokenizer.model', 'spiece.model', 'sentencepiece.bpe.model', 'sentencepiece.model']

/** Files that hold a vocabulary, in the order in which terge looks for them. */
export const VOCABULARY_FILES = ['tokenizer.json', 'vocab.json', 'vocab.txt', ...SENTENCEPIECE_FILES]

/** Whether a model's small files have a vocabulary that `readTokenizer` can read. */
export const hasVocabulary = (files: TokenizerFiles): boolean => VOCABULARY_FILES.some((name) => name in files)

/**
 * Reads a vocabulary from `tokenizer.json` (BPE, WordPiece, WordLevel, Unigram); else from `vocab.json` with
 * `merges.txt`, `vocab.txt` (WordPiece) or a SentencePiece model, each with `added_tokens.json` and the added tokens of
 * `tokenizer_config.json`. The files are untrusted: ids and sizes are checked before anything is built from them.
 * `known`: documents that were read before; new ones are added. Error: `bad-tokenizer`, with `shown` as the model's name.
 */
export function readTokenizer(files: TokenizerFiles, shown: string, known: Documents = new Map()): Tokenizer {
  const name = VOCABULARY_FILES.find((name) => name in files)
  if (name === undefined) throw bad(shown, 'it has no vocabulary file')
  const text = files[name]!
  if (isLfsPointer(text)) throw fault('bad-tokenizer', `${shown}: ${name}: ${LFS_POINTER}`, LFS_HINT)
  switch (name) {
    case 'tokenizer.json':
      return fromDocument(text, files, shown, known)
    case 'vocab.json':
      return fromVocab(text, files, shown)
    case 'vocab.txt':
      return fromLines(text, files, shown)
    default:
      return fromSentencePiece(name, text, files, shown)
  }
}

/** Parses a JSON object. Error: `bad-tokenizer`. */
export function readObject(text: string, shown: string): Json {
  let value: unknown
  try {
    value = parseJson(text, { values: MOST_VALUES })
  } catch (error) {
    throw bad(shown, (error as Error).message)
  }
  if (!isObject(value)) throw bad(shown, 'not a JSON object')
  return value
}

/** A file next to a vocabulary; empty if there is none. Error: `bad-tokenizer`. */
export const readBeside = (files: TokenizerFiles, name: string, shown: string): Json =>
  files[name] === undefined ? {} : readObject(files[name], `${shown}: ${name}`)

/**
 * The files with special tokens that transformers reads, what counts more first. It reads special_tokens_map.json only next to an
 * older configuration.
 */
export function specialFiles(files: TokenizerFiles, shown: string): readonly [older: Json, config: Json] {
  const config = readBeside(files, 'tokenizer_config.json', shown)
  return [isObject(config.added_tokens_decoder) ? {} : readBeside(files, 'special_tokens_map.json', shown), config]
}

const bad = (shown: string, what: string) =>
  fault('bad-tokenizer', `${shown}: ${what}`, 'correct the file, or name another tokenizer')

/** A tokenizer.json as it was read, whatever the files next to it say. */
interface Document extends Pick<Tokenizer, 'kind' | 'pieces' | 'scores' | 'prefix' | 'merges'> {
  readonly document: string
  readonly settings: TokenizerSettings
  readonly listed: readonly AddedToken[]
  readonly strings: readonly string[]
}

/** By text. A large document takes most of a second. */
export type Documents = Map<string, Document>

function fromDocument(text: string, files: TokenizerFiles, name: string, known: Documents): Tokenizer {
  const before = known.get(text)
  const { listed, strings, ...read } = before ?? readDocument(text, `${name}: tokenizer.json`)
  if (!before) known.set(text, { listed, strings, ...read })
  const named = namedIn(files, name)
  return finish({ ...read, mentioned: new Set([...strings, ...named.map(({ content }) => content)]) }, [
    ...listed,
    ...addedOf(files, name),
    ...named,
  ])
}

function readDocument(text: string, shown: string): Document {
  const document = readObject(text, shown)
  const { model } = document
  if (!isObject(model)) throw bad(shown, 'it has no model')
  const kind = kindOf(model)
  if (!kind)
    throw bad(shown, `terge supports models of type ${KINDS.join(', ')}, not ${JSON.stringify(model.type ?? null)}`)
  const scores: number[] = []
  const pieces = kind === 'Unigram' ? readPieces(model.vocab, scores, shown) : readIds(model.vocab, shown)
  const { vocab: _vocab, merges: _merges, ...rest } = model
  const { added_tokens: _added, model: _model, ...around } = document
  const { normalizer, pre_tokenizer, post_processor, decoder } = document
  return {
    kind,
    pieces,
    ...(kind === 'Unigram' ? { scores } : {}),
    ...(typeof model.continuing_subword_prefix === 'string' ? { prefix: model.continuing_subword_prefix } : {}),
    merges: kind === 'BPE' ? readMerges(model.merges, shown) : [],
    document: text,
    settings: { model: rest, normalizer, pre_tokenizer, post_processor, decoder },
    listed: readAdded(document.added_tokens, shown),
    strings: stringsIn([rest, around]),
  }
}

/** The kind of a model. Older files have no `type`. */
function kindOf(model: Json): TokenizerKind | undefined {
  if (model.type !== undefined) return KINDS.find((kind) => kind === model.type)
  if (Array.isArray(model.vocab)) return 'Unigram'
  if (Array.isArray(model.merges)) return 'BPE'
  return 'continuing_subword_prefix' in model ? 'WordPiece' : 'WordLevel'
}

function fromVocab(text: string, files: TokenizerFiles, shown: string): Tokenizer {
  const pieces = readIds(readObject(text, `${shown}: vocab.json`), `${shown}: vocab.json`)
  const merges = linesOf(files['merges.txt'] ?? '', `${shown}: merges.txt`).filter(
    (line, index) => line !== '' && !(index === 0 && line.startsWith('#version')),
  )
  return besides({ kind: 'BPE', pieces, merges: readMerges(merges, `${shown}: merges.txt`) }, files, shown)
}

/** One piece per line; the line number is the id. If two are equal, the later one counts, as in transformers. */
function fromLines(text: string, files: TokenizerFiles, shown: string): Tokenizer {
  const lines = linesOf(text.endsWith('\n') ? text.slice(0, -1) : text, `${shown}: vocab.txt`)
  const pieces = new Map(lines.map((line, id) => [line, id]))
  return besides({ kind: 'WordPiece', pieces, merges: [], lines }, files, shown)
}

/** Lines without line ends, counted before they are split. */
function linesOf(text: string, shown: string): string[] {
  let count = 1
  for (let at = text.indexOf('\n'); at !== -1; at = text.indexOf('\n', at + 1))
    if (++count > MOST_TOKENS) throw bad(shown, `it has more than ${MOST_TOKENS} lines`)
  return text.split('\n').map((line) => line.replace(/\r$/, ''))
}

/** Tokenizer classes whose token ids differ from those of their SentencePiece model. */
const RENUMBERED =
  /^(XLMRoberta|MBart|Camembert|Barthez|NllbTokenizer|Nllb|Pegasus|M2M100|BigBirdPegasus|XGLM|PLBart|Fnet|Speech2Text|SpeechT5|Marian)/i

/** Ids are the positions of the pieces. T5 appends its sentinels in descending order. */
function fromSentencePiece(name: string, text: string, files: TokenizerFiles, shown: string): Tokenizer {
  const where = `${shown}: ${name}`
  const { tokenizer_class: type, extra_ids: extra = 100 } = readBeside(files, 'tokenizer_config.json', shown)
  if (typeof type === 'string' && RENUMBERED.test(type))
    throw fault(
      'bad-tokenizer',
      `${where}: terge does not support the token ids of ${type}`,
      'save its tokenizer.json: AutoTokenizer.from_pretrained(…, use_fast=True).save_pretrained(…)',
    )
  const found = readSentencePieces(Buffer.from(text, 'latin1'), MOST_TOKENS, (what) => {
    throw bad(where, what)
  })
  const pieces = new Map<string, number>()
  for (const [id, piece] of found.pieces.entries()) pieces.set(piece, id)
  const sentinel = typeof type === 'string' && type.startsWith('T5') && addedOf(files, shown).length === 0
  const more = sentinel ? sentinels(extra, found.pieces.length, `${shown}: tokenizer_config.json`) : []
  const base = { pieces, merges: [], kept: name }
  return besides(
    found.unigram ? { ...base, kind: 'Unigram', scores: found.scores } : { ...base, kind: 'SentencePiece' },
    files,
    shown,
    more,
  )
}

/** T5's sentinel tokens, with ids from `first`. Their untrusted count is checked. */
function sentinels(count: unknown, first: number, shown: string): AddedToken[] {
  if (typeof count !== 'number' || !Number.isInteger(count) || count < 0 || count > MOST_SENTINELS)
    throw bad(shown, `extra_ids is not an integer up to ${MOST_SENTINELS}`)
  return Array.from({ length: count }, (_, index) => ({
    content: `<extra_id_${index}>`,
    id: first + count - 1 - index,
    flags: { special: true },
  }))
}

type Read = Omit<Tokenizer, 'added' | 'ids' | 'size' | 'renumbered' | 'mentioned'>

/** A vocabulary from other files than tokenizer.json. The library adds the other tokens in the order of their ids. */
function besides(read: Read, files: TokenizerFiles, shown: string, more: readonly AddedToken[] = []): Tokenizer {
  const named = namedIn(files, shown)
  const added = [...addedOf(files, shown), ...more].sort((a, b) => a.id - b.id)
  return finish({ ...read, mentioned: new Set(named.map(({ content }) => content)) }, [...added, ...named])
}

/** Keys of special tokens, in the order in which transformers adds those that a vocabulary lacks. */
const NAMED = [
  ...['bos_token', 'eos_token', 'unk_token', 'sep_token', 'pad_token', 'cls_token', 'mask_token'],
  ...['extra_special_tokens', 'additional_special_tokens'],
]

type Named = Omit<AddedToken, 'id'> & { readonly id?: undefined }

/** Special tokens in tokenizer_config.json. transformers adds those that no other file has. */
function namedIn(files: TokenizerFiles, shown: string): Named[] {
  const [older, config] = specialFiles(files, shown)
  return NAMED.flatMap((key) => {
    const value = older[key] ?? config[key]
    const list = Array.isArray(value)
      ? value
      : isObject(value) && !('content' in value)
        ? Object.values(value)
        : [value]
    return list.flatMap((entry: unknown): Named[] => {
      const content = isObject(entry) ? entry.content : entry
      if (typeof content !== 'string' || content === '') return []
      return [{ content, flags: { ...flagsOf(isObject(entry) ? entry : {}), special: true } }]
    })
  })
}

/** Every string in a value, including keys. */
function stringsIn(value: unknown): string[] {
  const found: string[] = []
  const walk = (value: unknown): void => {
    if (typeof value === 'string') found.push(value)
    else if (typeof value === 'object' && value !== null)
      for (const [key, inner] of Object.entries(value)) {
        found.push(key)
        walk(inner)
      }
  }
  walk(value)
  return found
}

/** Tokens in addition to the vocabulary, in the order of their ids. */
function addedOf(files: TokenizerFiles, shown: string): AddedToken[] {
  const added = new Map<string, AddedToken>()
  for (const [content, id] of readIds(readBeside(files, 'added_tokens.json', shown), shown))
    added.set(content, { content, id, flags: { special: false } })
  const { added_tokens_decoder: decoder } = readBeside(files, 'tokenizer_config.json', shown)
  if (isObject(decoder)) {
    const entries = Object.entries(decoder).map(([id, entry]) => ({
      ...(isObject(entry) ? entry : {}),
      id: Number(id),
    }))
    for (const token of readAdded(entries, `${shown}: tokenizer_config.json`)) added.set(token.content, token)
  }
  return [...added.values()].sort((a, b) => a.id - b.id)
}

/** Completes a tokenizer with the ids that the tokenizers library gives, whatever a file says about added tokens. */
function finish(
  read: Omit<Tokenizer, 'added' | 'ids' | 'size' | 'renumbered'>,
  listed: readonly (AddedToken | Named)[],
): Tokenizer {
  const first = new Map<string, AddedToken | Named>()
  for (const token of listed) if (token.content !== '' && !first.has(token.content)) first.set(token.content, token)
  const ids = loadedIds(read.pieces, first.keys(), placesOf(read))
  const renumbered = [...first.values()].flatMap(({ content, id }) =>
    id === undefined || id === ids.get(content) ? [] : [{ content, stated: id }],
  )
  const added = [...first.values()].map(({ content, flags }) => ({ content, id: ids.get(content)!, flags }))
  let size = 0
  for (const id of ids.values()) size = Math.max(size, id + 1)
  return { ...read, added, ids, size, renumbered }
}

/** The number of pieces if a piece's id is its position, where a text may appear twice. */
export const placesOf = ({ kind, scores, kept }: Pick<Tokenizer, 'kind' | 'scores' | 'kept'>): number | undefined =>
  kind === 'Unigram' && kept === undefined ? scores?.length : undefined

function checkId(id: unknown, shown: string, token: string): number {
  if (typeof id === 'number' && Number.isSafeInteger(id) && id >= 0 && id < HIGHEST_ID) return id
  throw bad(shown, `the id of ${JSON.stringify(token.slice(0, 80))} is not a number below ${HIGHEST_ID}`)
}

function readIds(vocab: unknown, shown: string): Map<string, number> {
  if (!isObject(vocab)) throw bad(shown, 'its vocabulary is not a mapping from tokens to ids')
  const entries = Object.entries(vocab)
  if (entries.length > MOST_TOKENS)
    throw bad(shown, `it has ${entries.length} tokens; terge supports at most ${MOST_TOKENS}`)
  return new Map(entries.map(([token, id]) => [token, checkId(id, shown, token)]))
}

function readPieces(vocab: unknown, scores: number[], shown: string): Map<string, number> {
  if (!Array.isArray(vocab) || vocab.length > MOST_TOKENS) throw bad(shown, 'its vocabulary is not a list of pieces')
  const pieces = new Map<string, number>()
  for (const [id, entry] of vocab.entries()) {
    const [piece, score] = Array.isArray(entry) ? entry : []
    if (typeof piece !== 'string' || typeof score !== 'number')
      throw bad(shown, `piece ${id} is not a pair [text, score]`)
    scores.push(score)
    // If two pieces are equal, the later one counts, as in the library.
    pieces.set(piece, id)
  }
  return pieces
}

function readMerges(merges: unknown, shown: string): [string, string][] {
  if (merges === undefined) return []
  if (!Array.isArray(merges) || merges.length > MOST_TOKENS) throw bad(shown, 'its merges are not a list')
  return merges.map((merge: unknown, index): [string, string] => {
    const space = typeof merge === 'string' ? merge.indexOf(' ', 1) : -1
    const pair = typeof merge === 'string' ? [merge.slice(0, space), merge.slice(space + 1)] : merge
    if (Array.isArray(pair) && pair.length === 2 && (typeof merge !== 'string' || space > 0)) {
      const [left, right] = pair as unknown[]
      if (typeof left === 'string' && typeof right === 'string') return [left, right]
    }
    throw bad(shown, `merge ${index} is not a pair of tokens`)
  })
}

function readAdded(list: unknown, shown: string): AddedToken[] {
  if (list === undefined || list === null) return []
  if (!Array.isArray(list) || list.length > MOST_TOKENS) throw bad(shown, 'added_tokens is not a list')
  return list.map((entry: unknown, index) => {
    if (!isObject(entry) || typeof entry.content !== 'string') throw bad(shown, `added token ${index} has no content`)
    return { content: entry.content, id: checkId(entry.id, shown, entry.content), flags: flagsOf(entry) }
  })
}

/** How a token is matched. The library rejects a file in which one of these flags is absent. */
export const PLAIN: AddedToken['flags'] = {
  ...{ single_word: false, lstrip: false, rstrip: false, normalized: false, special: false },
}

function flagsOf(entry: Json): AddedToken['flags'] {
  const own = Object.entries(entry).filter((flag): flag is [string, boolean] => typeof flag[1] === 'boolean')
  return { ...PLAIN, ...Object.fromEntries(own) }
}
