import { isObject } from './read.js'
import type { AddedToken, Tokenizer } from './types.js'
import { inOrder } from './union.js'

/**
 * The text of files that hold a vocabulary, by name: `tokenizer.json`, or `vocab.json` and `merges.txt`, or `vocab.txt`, each with
 * `added_tokens.json`, where it was read from these; of a SentencePiece model the added tokens alone. Tokens stand in the order of ids, all else in the order it was read.
 */
export function tokenizerTexts(tokenizer: Tokenizer): Readonly<Record<string, string>> {
  const { document, merges, pieces, added, lines, kept } = tokenizer
  if (document) return { 'tokenizer.json': `${documentText(tokenizer, document)}\n` }
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

type Json = Readonly<Record<string, unknown>>

/** Objects are written entry by entry: JavaScript would put tokens that look like numbers first. */
const objectText = (entries: readonly (readonly [string, string])[]): string =>
  `{${entries.map(([key, text]) => `${JSON.stringify(key)}:${text}`).join(',')}}`

const vocabText = (pieces: ReadonlyMap<string, number>): string =>
  objectText(inOrder(pieces).map(([token, id]) => [token, String(id)]))

function documentText(tokenizer: Tokenizer, document: Json): string {
  const entries = Object.entries(document)
  if (!('added_tokens' in document) && tokenizer.added.length > 0) entries.push(['added_tokens', []])
  return objectText(
    entries.map(([key, value]) => {
      if (key === 'model' && isObject(value)) return [key, modelText(tokenizer, value)]
      return [key, key === 'added_tokens' ? JSON.stringify(tokenizer.added.map(addedEntry)) : JSON.stringify(value)]
    }),
  )
}

function modelText({ pieces, scores, merges }: Tokenizer, model: Json): string {
  return objectText(
    Object.entries(model).map(([key, value]) => {
      if (key === 'vocab') return [key, scores ? JSON.stringify(unigram(pieces, scores, value)) : vocabText(pieces)]
      if (key !== 'merges' || !Array.isArray(value)) return [key, JSON.stringify(value)]
      // As it was written, unless a part has a space in it, which the older form can't say.
      const joined = typeof (value[0] ?? '') === 'string' && !merges.some((pair) => pair.join('').includes(' '))
      return [key, JSON.stringify(joined ? merges.map((pair) => pair.join(' ')) : merges)]
    }),
  )
}

/** Pieces by place: those that were there, as they were, even where a text stands twice. */
function unigram(pieces: ReadonlyMap<string, number>, scores: readonly number[], before: unknown): unknown[] {
  const list: unknown[] = Array.isArray(before) ? [...before] : []
  const kept = list.length
  for (const [piece, id] of pieces) if (id >= kept) list[id] = [piece, scores[id]]
  return list
}

export const addedEntry = ({ id, content, flags }: AddedToken): Json => ({ id, content, ...flags })
