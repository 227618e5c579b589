import { PLAIN } from './read.js'
import type { Tokenizer } from './types.js'

/** A vocabulary made of several. */
export interface Union {
  readonly tokenizer: Tokenizer
  /** Tokens that the first tokenizer lacked, in the order of their ids. */
  readonly gained: readonly string[]
  /** Whether it differs from the first tokenizer. */
  readonly changed: boolean
}

/**
 * All tokens of all tokenizers. Tokens of the first keep their ids, except a token that shares its id with another. New
 * tokens follow in the order of tokenizers and ids.
 *
 * If another tokenizer has the same kind as the first, its pieces become pieces, and its merges follow, each once.
 * Otherwise its pieces become added tokens, since the first tokenizer cannot split text into them. Pieces of Unigram
 * and vocab.txt also become added tokens if added tokens already follow the first one's pieces, since a piece's id is
 * its position. A SentencePiece model only gets added tokens. As in mergekit, an added token of any tokenizer is an
 * added token of the union. Normalization and splitting are those of the first tokenizer.
 */
export function unite(first: Tokenizer, others: readonly Tokenizer[]): Union {
  const ids = new Map(first.ids)
  const pieces = new Map(first.pieces)
  const scores = [...(first.scores ?? [])]
  const lines = first.lines && [...first.lines]
  /** The number of pieces, if a piece's id is its position. */
  let places = first.kind === 'Unigram' ? scores.length : lines?.length
  const added = new Map(first.added.map((token) => [token.content, token]))
  const gained: string[] = []
  let marked = 0
  let { size } = first
  const moved = sharedIds(first.ids)
  for (const token of moved) {
    if (pieces.has(token)) pieces.set(token, size)
    const before = added.get(token)
    if (before) added.set(token, { ...before, id: size })
    ids.set(token, size++)
  }
  for (const other of others) {
    const listed = new Map(other.added.map((token) => [token.content, token]))
    for (const [token, id] of inOrder(other.ids)) {
      const known = ids.get(token)
      const flags = listed.get(token)?.flags
      if (known !== undefined) {
        if (flags && !added.has(token)) {
          added.set(token, { content: token, id: known, flags })
          marked++
        }
        continue
      }
      const piece = other.kind === first.kind && other.pieces.has(token) && first.kept === undefined
      const fits = (places === undefined || places === size) && !(lines && /[\n\r]/.test(token))
      if (piece && fits) {
        pieces.set(token, size)
        if (first.kind === 'Unigram') scores.push(other.scores![id]!)
        if (lines) lines.push(token)
        if (places !== undefined) places++
        if (flags) added.set(token, { content: token, id: size, flags })
      } else added.set(token, { content: token, id: size, flags: flags ?? PLAIN })
      ids.set(token, size)
      gained.push(token)
      size++
    }
  }
  const kin = others.filter(({ kind }) => kind === first.kind)
  return {
    tokenizer: {
      ...first,
      pieces,
      ...(first.scores ? { scores } : {}),
      ...(lines ? { lines } : {}),
      merges: uniteMerges(first, kin, pieces),
      added: [...added.values()].sort((a, b) => a.id - b.id),
      ids,
      size,
    },
    gained,
    changed: gained.length + marked + moved.length > 0,
  }
}

/** Tokens that share their id with an earlier token: the library gives such ids if a vocabulary has gaps. */
function sharedIds(ids: ReadonlyMap<string, number>): string[] {
  const taken = new Set<number>()
  return [...ids].flatMap(([token, id]) => {
    if (taken.has(id)) return [token]
    taken.add(id)
    return []
  })
}

/** Appends tokens that are in no vocabulary. */
export function withAdded(tokenizer: Tokenizer, tokens: readonly string[]): Tokenizer {
  const ids = new Map(tokenizer.ids)
  const added = [...tokenizer.added]
  let { size } = tokenizer
  for (const content of tokens) {
    added.push({ content, id: size, flags: PLAIN })
    ids.set(content, size++)
  }
  return { ...tokenizer, added, ids, size }
}

/**
 * Removes the tokens that have no embedding row, except those in `keep`; all others keep their ids. From a
 * SentencePiece model, and from a list of pieces with kept or repeated pieces, only added tokens are removed.
 */
export function withinRows(
  tokenizer: Tokenizer,
  rows: number,
  keep: ReadonlySet<string>,
): { tokenizer: Tokenizer; dropped: readonly string[] } {
  if (tokenizer.size <= rows) return { tokenizer, dropped: [] }
  const { scores, lines, kept } = tokenizer
  const past = (token: string, id: number): boolean => id >= rows && !keep.has(token)
  const tail = [...tokenizer.pieces].filter(([, id]) => id >= rows)
  const list = scores ?? lines
  const whole =
    kept !== undefined || (list && (list.length > tokenizer.pieces.size || tail.some(([token]) => keep.has(token))))
  const goes = ([token, id]: readonly [string, number]): boolean =>
    past(token, id) && !(whole && tokenizer.pieces.has(token))
  const stays = (one: readonly [string, number]): boolean => !goes(one)
  const dropped = inOrder(tokenizer.ids)
    .filter(goes)
    .map(([token]) => token)
  if (dropped.length === 0) return { tokenizer, dropped }
  const pieces = new Map([...tokenizer.pieces].filter(stays))
  const ids = new Map([...tokenizer.ids].filter(stays))
  const product = productOf(tokenizer)
  const size = [...ids.values()].reduce((most, id) => Math.max(most, id + 1), 0)
  return {
    tokenizer: {
      ...tokenizer,
      ...{ pieces, ids, size },
      ...(scores && !whole ? { scores: scores.slice(0, rows) } : {}),
      ...(lines && !whole ? { lines: lines.slice(0, rows) } : {}),
      merges: tokenizer.merges.filter((merge) => [...merge, product(merge)].every((part) => pieces.has(part))),
      added: tokenizer.added.filter(({ content, id }) => stays([content, id])),
    },
    dropped,
  }
}

/** Tokens in the order of ids. */
export const inOrder = (ids: ReadonlyMap<string, number>): [string, number][] => [...ids].sort(([, a], [, b]) => a - b)

/** The piece that a merge makes. */
const productOf =
  ({ prefix = '' }: Tokenizer) =>
  ([left, right]: readonly [string, string]): string =>
    left + right.slice(prefix.length)

function uniteMerges(
  first: Tokenizer,
  others: readonly Tokenizer[],
  pieces: ReadonlyMap<string, number>,
): Tokenizer['merges'] {
  const merges = [...first.merges]
  const product = productOf(first)
  // A merge's position is its rank. Pairs are equal if both parts are, not if they make the same piece.
  const known = new Map<string, Set<string>>()
  const isNew = ([left, right]: readonly [string, string]): boolean => {
    const partners = known.get(left) ?? new Set()
    if (partners.has(right)) return false
    known.set(left, partners.add(right))
    return true
  }
  for (const merge of merges) isNew(merge)
  // The library rejects a merge whose parts or result are not pieces: they may be added tokens.
  const fits = (merge: readonly [string, string]) => [...merge, product(merge)].every((part) => pieces.has(part))
  for (const other of others) for (const merge of other.merges) if (fits(merge) && isNew(merge)) merges.push(merge)
  return merges
}
