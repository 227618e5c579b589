import type { AddedToken, Tokenizer } from './types.js'

/** A vocabulary of several. */
export interface Union {
  readonly tokenizer: Tokenizer
  /** Tokens that the first one lacked, in the order of their ids. */
  readonly gained: readonly string[]
}

/**
 * All tokens of all tokenizers: those of the first keep their ids, and the others' new ones follow in the order of
 * tokenizers and of ids. Where another is of the first one's kind, its pieces become pieces, and its merges follow, each
 * once; the pieces of one of another kind become added tokens, for there is no telling how their text would be cut. So do
 * pieces of Unigram and of vocab.txt where added tokens already stand behind the first one's: a piece's id is its place. A
 * SentencePiece model gains added tokens alone. What normalizes
 * and splits the text is the first one's.
 */
export function unite(first: Tokenizer, others: readonly Tokenizer[]): Union {
  const ids = new Map(first.ids)
  const pieces = new Map(first.pieces)
  const scores = [...(first.scores ?? [])]
  const lines = first.lines && [...first.lines]
  /** Where a piece's id is its place: how many there are. */
  let places = first.kind === 'Unigram' ? scores.length : lines?.length
  const added = new Map(first.added.map((token) => [token.content, token]))
  const gained: string[] = []
  let { size } = first
  for (const other of others) {
    const listed = new Map(other.added.map((token) => [token.content, token]))
    for (const [token, id] of inOrder(other.ids)) {
      const known = ids.get(token)
      const flags = listed.get(token)?.flags
      if (known !== undefined) continue
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
  }
}

const PLAIN: AddedToken['flags'] = {
  single_word: false,
  lstrip: false,
  rstrip: false,
  normalized: false,
  special: false,
}

/** Tokens in the order of ids. */
export const inOrder = (ids: ReadonlyMap<string, number>): [string, number][] => [...ids].sort(([, a], [, b]) => a - b)

function uniteMerges(
  first: Tokenizer,
  others: readonly Tokenizer[],
  pieces: ReadonlyMap<string, number>,
): Tokenizer['merges'] {
  const merges = [...first.merges]
  // A merge's place is its rank: pairs are told apart by their two parts, not by what they make.
  const known = new Map<string, Set<string>>()
  const isNew = ([left, right]: readonly [string, string]): boolean => {
    const partners = known.get(left) ?? new Set()
    if (partners.has(right)) return false
    known.set(left, partners.add(right))
    return true
  }
  for (const merge of merges) isNew(merge)
  for (const other of others)
    for (const merge of other.merges) if (merge.every((part) => pieces.has(part)) && isNew(merge)) merges.push(merge)
  return merges
}
