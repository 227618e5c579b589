/** A token that is looked for in the text before it is cut up: special ones, and those added after training. */
export interface AddedToken {
  readonly id: number
  readonly content: string
  /** How it is matched, as tokenizer.json has it: `special`, `lstrip`, `rstrip`, `normalized`, `single_word`. */
  readonly flags: Readonly<Record<string, boolean>>
}

export type TokenizerKind = 'BPE' | 'WordPiece' | 'WordLevel' | 'Unigram' | 'SentencePiece'

/** A vocabulary with what belongs to it. */
export interface Tokenizer {
  readonly kind: TokenizerKind
  /** Of the model proper: piece → id. */
  readonly pieces: ReadonlyMap<string, number>
  /** Unigram: log-probabilities, by id. */
  readonly scores?: readonly number[]
  /** BPE: in the order in which they are tried. */
  readonly merges: readonly (readonly [string, string])[]
  /** In the order in which the library adds them; with the ids that it gives them. */
  readonly added: readonly AddedToken[]
  /** Added tokens to which a file gives another id than the library. */
  readonly renumbered: readonly { readonly content: string; readonly stated: number }[]
  /** Texts that a tokenizer's other settings hold, such as special tokens by their parts. */
  readonly mentioned: ReadonlySet<string>
  /** Every token, added ones too. Where two have one id, both are here. */
  readonly ids: ReadonlyMap<string, number>
  /** The highest id and one. */
  readonly size: number
  /** BPE: what the second part of a merge loses (`continuing_subword_prefix`). */
  readonly prefix?: string
  /** Of vocab.txt: its lines, which are the pieces by id. */
  readonly lines?: readonly string[]
  /** The file of a SentencePiece model, which is kept as it is: what a union gains becomes added tokens. */
  readonly kept?: string
  /** The text of tokenizer.json; absent where the vocabulary comes from other files. */
  readonly document?: string
}

/** Texts of a model's small files, by name; those that it lacks are absent. */
export type TokenizerFiles = Readonly<Record<string, string>>
