/** The tokenizers of a recipe's models: what planning asks of them. */
import { type Encoder, type Library, loadLibrary, openEncoder } from './encode.js'
import { type Documents, hasVocabulary, readTokenizer } from './read.js'
import type { Tokenizer, TokenizerFiles } from './types.js'

/** A tokenizer is read when it is first asked for, and equal documents are parsed once. */
export interface Tokenizers {
  /** The texts of the models' files. */
  readonly files: ReadonlyMap<string, TokenizerFiles>
  /** The vocabulary of a model; undefined if it has none. Error: `bad-tokenizer`. */
  of(model: string): Tokenizer | undefined
  /** What cuts texts as a model does; undefined where models are not opened. Error: `bad-tokenizer`. */
  encoder(model: string): Encoder | undefined
}

/** For recipes that are only checked: nothing is read. */
export const CLOSED: Tokenizers = { files: new Map(), of: () => undefined, encoder: () => undefined }

/** `cuts`: texts will be cut. */
export async function openTokenizers(files: ReadonlyMap<string, TokenizerFiles>, cuts: boolean): Promise<Tokenizers> {
  const library: Library | undefined = cuts ? await loadLibrary() : undefined
  const documents: Documents = new Map()
  const read = new Map<string, Tokenizer>()
  const opened = new Map<string, Encoder>()
  const tokenizerOf = (model: string): Tokenizer => {
    const tokenizer = read.get(model) ?? readTokenizer(files.get(model) ?? {}, model, documents)
    read.set(model, tokenizer)
    return tokenizer
  }
  return {
    files,
    of: (model) => (hasVocabulary(files.get(model) ?? {}) ? tokenizerOf(model) : undefined),
    encoder(model) {
      if (!library) throw new Error('internal: the library that cuts texts was not loaded')
      const encoder = opened.get(model) ?? openEncoder(tokenizerOf(model), files.get(model) ?? {}, model, library)
      opened.set(model, encoder)
      return encoder
    },
  }
}
