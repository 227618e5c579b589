/** A tokenizer.json as its two libraries read it. */
import { Tokenizer } from '@huggingface/tokenizers'

export interface Document {
  readonly model: {
    readonly type?: string
    readonly vocab: Record<string, number> | [string, number][]
    readonly merges?: unknown[]
  }
  readonly added_tokens: readonly { readonly id: number; readonly content: string; readonly special: boolean }[]
}

/**
 * Ids after loading by the library in Rust, whose rule this is (measured on tokenizers 0.23, on thousands of random documents): it
 * does not read the ids of added tokens. One that is a piece has the piece's id; any other the number of pieces, and one more
 * for each before it. It refuses merges of what is no piece.
 */
export function idsInRust({ model, added_tokens: added }: Document): Map<string, number> {
  const pieces = Array.isArray(model.vocab)
    ? model.vocab.map(([piece], id): [string, number] => [piece, id])
    : Object.entries(model.vocab)
  const ids = new Map(pieces)
  let next = Array.isArray(model.vocab) ? model.vocab.length : pieces.length
  for (const merge of model.merges ?? []) {
    const [left, right] = (typeof merge === 'string' ? merge.split(' ') : merge) as [string, string]
    for (const part of [left, right, left + right])
      if (!ids.has(part)) throw new Error(`Token \`${part}\` out of vocabulary`)
  }
  for (const { content } of added) if (content !== '' && !ids.has(content)) ids.set(content, next++)
  return ids
}

/** Ids after loading by the library in JavaScript, which reads the ids of added tokens. */
export function idsInJavaScript(document: Document): Map<string, number> {
  // Ids without a token leave holes in its list.
  return new Map([...new Tokenizer(document, {}).get_vocab(true)].filter(([token]) => token !== undefined))
}
