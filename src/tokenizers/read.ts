import { fault } from '../core/diagnostics.js'
import type { AddedToken, Tokenizer, TokenizerFiles, TokenizerKind } from './types.js'

/** The largest vocabularies have 262,144 tokens. */
const MOST_TOKENS = 4e6
/** Ids leave gaps at most; each costs a row of an embedding. */
const HIGHEST_ID = 2 ** 24

const DEEPEST = 100

const KINDS: readonly TokenizerKind[] = ['BPE', 'WordPiece', 'WordLevel', 'Unigram']

type Json = Readonly<Record<string, unknown>>

export const isObject = (value: unknown): value is Json =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** Whether a model's small files hold a vocabulary that `readTokenizer` reads. */
export const hasVocabulary = (files: TokenizerFiles): boolean => 'tokenizer.json' in files || 'vocab.json' in files

/**
 * Reads a vocabulary: `tokenizer.json` (BPE, WordPiece, WordLevel, Unigram), or `vocab.json` with `merges.txt` and
 * `added_tokens.json`. Nothing in it is believed: ids are checked, and sizes before anything is built from them.
 * Fault: `bad-tokenizer`, with `shown` as the model's name.
 */
export function readTokenizer(files: TokenizerFiles, shown: string): Tokenizer {
  const text = files['tokenizer.json']
  return text === undefined ? fromVocab(files, shown) : fromDocument(text, `${shown}: tokenizer.json`)
}

/** A JSON object. Fault: `bad-tokenizer`. */
export function readObject(text: string, shown: string): Json {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    throw bad(shown, `not valid JSON: ${(error as Error).message}`)
  }
  if (!isObject(value)) throw bad(shown, 'not a JSON object')
  if (tooDeep(value)) throw bad(shown, `nested deeper than ${DEEPEST}`)
  return value
}

/** What is written again is walked, and a stack has an end. */
function tooDeep(root: object): boolean {
  let level: object[] = [root]
  for (let depth = 0; level.length > 0; depth++) {
    if (depth > DEEPEST) return true
    const next: object[] = []
    for (const node of level)
      for (const value of Object.values(node)) if (typeof value === 'object' && value !== null) next.push(value)
    level = next
  }
  return false
}

const bad = (shown: string, what: string) =>
  fault('bad-tokenizer', `${shown}: ${what}`, 'repair the file, or name another tokenizer')

function fromDocument(text: string, shown: string): Tokenizer {
  const document = readObject(text, shown)
  const { model } = document
  if (!isObject(model)) throw bad(shown, 'it has no model')
  const kind = kindOf(model)
  if (!kind) throw bad(shown, `terge reads ${KINDS.join(', ')}, and this is ${JSON.stringify(model.type ?? null)}`)
  const scores: number[] = []
  const pieces = kind === 'Unigram' ? readPieces(model.vocab, scores, shown) : readIds(model.vocab, shown)
  const added = readAdded(document.added_tokens, shown)
  return finish(
    {
      kind,
      pieces,
      ...(kind === 'Unigram' ? { scores } : {}),
      merges: kind === 'BPE' ? readMerges(model.merges, shown) : [],
      document,
    },
    added,
  )
}

/** Older files leave the type out. */
function kindOf(model: Json): TokenizerKind | undefined {
  if (model.type !== undefined) return KINDS.find((kind) => kind === model.type)
  if (Array.isArray(model.vocab)) return 'Unigram'
  if (Array.isArray(model.merges)) return 'BPE'
  return 'continuing_subword_prefix' in model ? 'WordPiece' : 'WordLevel'
}

function fromVocab(files: TokenizerFiles, shown: string): Tokenizer {
  const text = files['vocab.json']
  if (text === undefined) throw bad(shown, 'it has neither tokenizer.json nor vocab.json')
  const pieces = readIds(readObject(text, `${shown}: vocab.json`), `${shown}: vocab.json`)
  const merges = (files['merges.txt'] ?? '')
    .split('\n')
    .map((line) => line.replace(/\r$/, ''))
    .filter((line, index) => line !== '' && !(index === 0 && line.startsWith('#version')))
  const more = files['added_tokens.json']
  const extra = more === undefined ? new Map() : readIds(readObject(more, `${shown}: added_tokens.json`), shown)
  const added = [...extra].map(([content, id]): AddedToken => ({ content, id, flags: { special: false } }))
  return finish({ kind: 'BPE', pieces, merges: readMerges(merges, `${shown}: merges.txt`) }, added)
}

function finish(read: Omit<Tokenizer, 'added' | 'ids' | 'size'>, listed: readonly AddedToken[]): Tokenizer {
  const ids = new Map(read.pieces)
  // A token that the model has keeps the model's id.
  const added = listed.map((token) => ({ ...token, id: ids.get(token.content) ?? token.id }))
  for (const { content, id } of added) ids.set(content, id)
  let size = 0
  for (const id of ids.values()) size = Math.max(size, id + 1)
  return { ...read, added, ids, size }
}

function checkId(id: unknown, shown: string, token: string): number {
  if (typeof id === 'number' && Number.isSafeInteger(id) && id >= 0 && id < HIGHEST_ID) return id
  throw bad(shown, `the id of ${JSON.stringify(token.slice(0, 80))} is no number below ${HIGHEST_ID}`)
}

function readIds(vocab: unknown, shown: string): Map<string, number> {
  if (!isObject(vocab)) throw bad(shown, 'its vocabulary is no mapping of tokens to ids')
  const entries = Object.entries(vocab)
  if (entries.length > MOST_TOKENS) throw bad(shown, `${entries.length} tokens are too many`)
  return new Map(entries.map(([token, id]) => [token, checkId(id, shown, token)]))
}

function readPieces(vocab: unknown, scores: number[], shown: string): Map<string, number> {
  if (!Array.isArray(vocab) || vocab.length > MOST_TOKENS) throw bad(shown, 'its vocabulary is no list of pieces')
  const pieces = new Map<string, number>()
  for (const [id, entry] of vocab.entries()) {
    const [piece, score] = Array.isArray(entry) ? entry : []
    if (typeof piece !== 'string' || typeof score !== 'number') throw bad(shown, `piece ${id} is no [text, score]`)
    scores.push(score)
    if (!pieces.has(piece)) pieces.set(piece, id)
  }
  return pieces
}

function readMerges(merges: unknown, shown: string): [string, string][] {
  if (merges === undefined) return []
  if (!Array.isArray(merges) || merges.length > MOST_TOKENS) throw bad(shown, 'its merges are no list')
  return merges.map((merge: unknown, index): [string, string] => {
    const space = typeof merge === 'string' ? merge.indexOf(' ', 1) : -1
    const pair = typeof merge === 'string' ? [merge.slice(0, space), merge.slice(space + 1)] : merge
    if (Array.isArray(pair) && pair.length === 2 && (typeof merge !== 'string' || space > 0)) {
      const [left, right] = pair as unknown[]
      if (typeof left === 'string' && typeof right === 'string') return [left, right]
    }
    throw bad(shown, `merge ${index} is no pair of tokens`)
  })
}

function readAdded(list: unknown, shown: string): AddedToken[] {
  if (list === undefined || list === null) return []
  if (!Array.isArray(list) || list.length > MOST_TOKENS) throw bad(shown, 'added_tokens is no list')
  return list.map((entry: unknown, index) => {
    if (!isObject(entry) || typeof entry.content !== 'string') throw bad(shown, `added token ${index} has no content`)
    const flags = Object.entries(entry).filter((flag): flag is [string, boolean] => typeof flag[1] === 'boolean')
    return { content: entry.content, id: checkId(entry.id, shown, entry.content), flags: Object.fromEntries(flags) }
  })
}
