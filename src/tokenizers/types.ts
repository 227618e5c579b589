/** A token that is matched before the text is split: special tokens, and those added after training. */
export interface AddedToken {
  readonly id: number
  readonly content: string
  /**
   * How it is matched, with the flags of tokenizer.json: `special`, `lstrip`, `rstrip`, `normalized`, `single_word`.
   */
  readonly flags: Readonly<Record<string, boolean>>
}

export type TokenizerKind = 'BPE' | 'WordPiece' | 'WordLevel' | 'Unigram' | 'SentencePiece'

/** A vocabulary with its merges and added tokens. */
export interface Tokenizer {
  readonly kind: TokenizerKind
  /** The pieces of the model: piece → id. */
  readonly pieces: ReadonlyMap<string, number>
  /** Unigram: log-probabilities, by id. */
  readonly scores?: readonly number[]
  /** BPE: merges in order of priority. */
  readonly merges: readonly (readonly [string, string])[]
  /** In the order in which the library adds them, with the ids that it gives them. */
  readonly added: readonly AddedToken[]
  /** Added tokens whose id in a file differs from the library's. */
  readonly renumbered: readonly { readonly content: string; readonly stated: number }[]
  /** Strings in the tokenizer's other settings, such as the names of special tokens. */
  readonly mentioned: ReadonlySet<string>
  /** Every token, including added ones. Two tokens may have one id. */
  readonly ids: ReadonlyMap<string, number>
  /** The highest id plus 1. */
  readonly size: number
  /** BPE: the prefix that a merge removes from its second part (`continuing_subword_prefix`). */
  readonly prefix?: string
  /** The lines of vocab.txt, which are the pieces by id. */
  readonly lines?: readonly string[]
  /** The file name of a SentencePiece model. terge copies it unchanged, and a union adds new tokens as added tokens. */
  readonly kept?: string
  /** The text of tokenizer.json. Absent if the vocabulary comes from other files. */
  readonly document?: string
  /** The rest of tokenizer.json: everything but its tokens and merges. */
  readonly settings?: TokenizerSettings
}

export interface TokenizerSettings {
  /** The model without its vocabulary and merges. */
  readonly model: Readonly<Record<string, unknown>>
  readonly normalizer?: unknown
  readonly pre_tokenizer?: unknown
  readonly post_processor?: unknown
  readonly decoder?: unknown
}

/** The texts of a model's small files, by name. */
export type TokenizerFiles = Readonly<Record<string, string>>

/** The vocabulary of a result, and the models that it is made from. */
export interface ResultVocabulary {
  /** The model whose tokenizer files it has. */
  readonly first: string
  readonly tokenizer: Tokenizer
  /** New tokenizer files. Absent if the first model's files can be copied. */
  readonly texts?: TokenizerFiles
  /** Rows of embeddings. */
  readonly rows: number
  /** By model: its own vocabulary, and its rows. */
  readonly models: ReadonlyMap<string, { readonly tokenizer: Tokenizer; readonly rows: number }>
}
