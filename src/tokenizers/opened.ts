/** The tokenizers of a recipe's models: what planning asks of them. */
import { type Encoder, type Library, loadLibrary, openEncoder } from './encode.js'
import { type Documents, hasVocabulary, readTokenizer } from './read.js'
import { type SpecialTokens, specialTokens } from './roles.js'
import type { Tokenizer, TokenizerFiles } from './types.js'

/** A tokenizer is read when it is first asked for, and equal documents are parsed once. */
export interface Tokenizers {
  /** The texts of the models' files. */
  readonly files: ReadonlyMap<string, TokenizerFiles>
  /** The vocabulary of a model; undefined if it has none. Error: `bad-tokenizer`. */
  of(model: string): Tokenizer | undefined
  /** Its special tokens. Error: `bad-tokenizer`. */
  special(model: string): SpecialTokens
  /** What cuts texts as a model does; undefined where models are not opened. Error: `bad-tokenizer`. */
  encoder(model: string): Encoder | undefined
}

/** For recipes that are only checked: nothing is read. */
export const CLOSED: Tokenizers = {
  files: new Map(),
  of: () => undefined,
  special: () => new Map(),
  encoder: () => undefined,
}

/** `cuts`: texts will be cut. `typeOf`: the `model_type` of a model. */
export async function openTokenizers(
  files: ReadonlyMap<string, TokenizerFiles>,
  cuts: boolean,
  typeOf: (model: string) => unknown,
): Promise<Tokenizers> {
  const library: Library | undefined = cuts ? await loadLibrary() : undefined
  const documents: Documents = new Map()
  const read = new Map<string, Tokenizer>()
  const opened = new Map<string, Encoder>()
  const tokenizerOf = (model: string): Tokenizer => {
    const tokenizer = read.get(model) ?? readTokenizer(files.get(model) ?? {}, model, documents)
    read.set(model, tokenizer)
    return tokenizer
  }
  const special = (model: string): SpecialTokens => specialTokens(files.get(model) ?? {}, model, typeOf(model))
  return {
    files,
    special,
    of: (model) => (hasVocabulary(files.get(model) ?? {}) ? tokenizerOf(model) : undefined),
    encoder(model) {
      if (!library) throw new Error('internal: the library that cuts texts was not loaded')
      const encoder =
        opened.get(model) ?? openEncoder(tokenizerOf(model), special(model).get('bos') ?? '', model, library)
      opened.set(model, encoder)
      return encoder
    },
  }
}
