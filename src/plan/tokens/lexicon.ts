import type { Checkpoint } from '../../checkpoints/types.js'
import type { Value } from '../../expr/values.js'
import type { Tokenizers } from '../../tokenizers/opened.js'
import type { ResultVocabulary } from '../../tokenizers/types.js'

/** The tokenizer and chat template that the recipe asks for. */
export interface Lexicon {
  readonly vocabulary: ResultVocabulary | undefined
  readonly template: string | undefined
  /** With the texts of each model's `TOKENIZER_FILES`. */
  readonly tokenizers: Tokenizers
  readonly checkpoints: ReadonlyMap<string, Checkpoint>
}

/** A result can have an own vocabulary. */
export const lexiconOf = (lexicon: Lexicon, { vocabulary }: Pick<Value, 'vocabulary'>): Lexicon =>
  vocabulary ? { ...lexicon, vocabulary } : lexicon
