import { editJson, type JsonEdit, RawJson } from '../core/json/edit.js'
import { isObject } from '../core/json/text.js'
import { loadsAs, sameIds } from './loaded.js'
import { placesOf, readObject, readTokenizer } from './read.js'
import type { AddedToken, Tokenizer } from './types.js'
import { inOrder } from './union.js'

/**
 * The texts of the vocabulary files, by name, in the format that the tokenizer was read from: `tokenizer.json`; or
 * `vocab.json` and `merges.txt`, or `vocab.txt`, each with `added_tokens.json`; or only the added tokens of a
 * SentencePiece model. Tokens are in the order of ids, and everything else in tokenizer.json keeps its bytes. Undefined
 * if no such files give every token its id.
 */
export function tokenizerTexts(tokenizer: Tokenizer): Readonly<Record<string, string>> | undefined {
  const written = withLoadedIds(tokenizer)
  if (!written) return undefined
  const { document, merges, pieces, added, lines, kept } = written
  if (document !== undefined) {
    const texts = { 'tokenizer.json': documentText(written, document) }
    return sameIds(readTokenizer(texts, 'tokenizer.json').ids, tokenizer.ids) ? texts : undefined
  }
  const extra = added.filter(({ content }) => !pieces.has(content))
  const own: Readonly<Record<string, string>> = kept
    ? {}
    : lines
      ? { 'vocab.txt': `${lines.join('\n')}\n` }
      : {
          'vocab.json': `${vocabText(pieces)}\n`,
          'merges.txt': ['#version: 0.2', ...merges.map((pair) => pair.join(' ')), ''].join('\n'),
        }
  return {
    ...own,
    ...(extra.length > 0
      ? { 'added_tokens.json': `${vocabText(new Map(extra.map(({ content, id }) => [content, id])))}\n` }
      : {}),
  }
}

/**
 * Makes added tokens pieces as well, as far as the library would renumber them: it ignores their ids in the file and
 * counts on from the pieces. A piece in a mapping keeps its written id, and a piece that no merge makes can only match
 * as an added token.
 */
function withLoadedIds(tokenizer: Tokenizer): Tokenizer | undefined {
  const { ids, added, lines, kept } = tokenizer
  const contents = added.map(({ content }) => content)
  const loads = (pieces: Tokenizer['pieces']) => loadsAs(ids, pieces, contents, placesOf(tokenizer))
  if (loads(tokenizer.pieces)) return tokenizer
  if (lines || kept !== undefined || tokenizer.scores) return undefined
  let highest = -1
  for (const id of tokenizer.pieces.values()) highest = Math.max(highest, id)
  for (const most of [highest, Number.POSITIVE_INFINITY]) {
    const pieces = new Map(tokenizer.pieces)
    for (const { content, id } of added) if (id < most && !pieces.has(content)) pieces.set(content, id)
    if (loads(pieces)) return { ...tokenizer, pieces }
  }
  return undefined
}

type Json = Readonly<Record<string, unknown>>

const vocabText = (pieces: ReadonlyMap<string, number>): string =>
  // Written entry by entry, since JavaScript would sort tokens that look like numbers first.
  `{${inOrder(pieces)
    .map(([token, id]) => `${JSON.stringify(token)}:${id}`)
    .join(',')}}`

function documentText(tokenizer: Tokenizer, text: string): string {
  const document = readObject(text, 'tokenizer.json')
  const model = isObject(document.model) ? document.model : {}
  const { pieces, scores, merges, added } = tokenizer
  const vocab = scores ? unigram(pieces, scores, model.vocab) : new RawJson(vocabText(pieces))
  const edits: JsonEdit[] = [{ path: ['model', 'vocab'], value: vocab }]
  if (Array.isArray(model.merges)) {
    // Keeps the written form, unless a part has a space in it, which the older form cannot express.
    const [first = ''] = model.merges
    const joined = typeof first === 'string' && !merges.some((pair) => pair.join('').includes(' '))
    const list = joined ? merges.map((pair) => pair.join(' ')) : merges
    edits.push({ path: ['model', 'merges'], value: new RawJson(JSON.stringify(list)) })
  }
  if ('added_tokens' in document || added.length > 0)
    edits.push({ path: ['added_tokens'], value: new RawJson(JSON.stringify(added.map(addedEntry))) })
  return editJson(text, edits)
}

/** Pieces by position. A repeated text has the id of its last position; the earlier position keeps its entry. */
function unigram(pieces: ReadonlyMap<string, number>, scores: readonly number[], before: unknown): RawJson {
  const byPlace = new Map([...pieces].map(([piece, id]) => [id, piece]))
  const there: readonly unknown[] = Array.isArray(before) ? before : []
  const list = scores.map((score, id) => {
    const piece = byPlace.get(id)
    return piece === undefined ? there[id] : [piece, score]
  })
  return new RawJson(JSON.stringify(list))
}

export const addedEntry = ({ id, content, flags }: AddedToken): Json => ({ id, content, ...flags })
