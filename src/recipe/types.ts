import type { Diagnostic, Place } from '../core/diagnostics.js'
import type { OutputDtype } from '../core/dtypes.js'
import type { Evaluate, ModelSource, Path, RecipeHead } from '../language/types.js'
import type { Step } from '../steps/index.js'

export interface OutputSpec {
  readonly at: Path
  /** As written (or as given on the command line). */
  readonly path: string
  /** Absolute. */
  readonly resolved: string
  /** A model or step. */
  readonly from: string
  readonly dtype?: OutputDtype
  /** In bytes. */
  readonly shardSize?: number
  readonly metadata: Readonly<Record<string, string>>
  readonly evaluate?: Evaluate
}

/** Where the embedding of one token comes from. */
export interface TokenChoice {
  readonly from:
    | { readonly kind: 'zero' }
    /** The same token's, unless another one is named. */
    | { readonly kind: 'model'; readonly model: string; readonly token?: string; readonly id?: number }
  /** Also in models that have the token. */
  readonly force: boolean
  readonly at: Path
}

export interface TokenizerChoice {
  /** `base`, `union`, or a model. */
  readonly source: string
  readonly tokens: ReadonlyMap<string, TokenChoice>
  /** 1 where the vocabulary is not padded. */
  readonly padTo: number
  readonly at: Path
}

/** A recipe that was found valid as a text: names resolve, methods and parameters exist, no cycle. Short forms are steps. */
export interface Recipe extends RecipeHead {
  /** As the user named it. */
  readonly file: string
  /** The folder that its paths are relative to, absolute. */
  readonly folder: string
  readonly text: string
  /** `KEY=VALUE` as given with `--set`, in order. */
  readonly overrides: readonly string[]
  /** In order of writing. */
  readonly models: ReadonlyMap<string, ModelSource>
  /** In dependency order: a step comes after those it uses. Only steps that an output needs, directly or not. */
  readonly steps: readonly Step[]
  readonly outputs: readonly OutputSpec[]
  readonly compute: 'float32' | 'float64'
  readonly seed: number
  /** Absent where the recipe says nothing: the base's files, and embeddings as they are. */
  readonly tokenizer: TokenizerChoice | undefined
  readonly chatTemplate: string | undefined
  /** Finds the place of a node, or of its key, for faults that planning finds. */
  readonly placeOf: (path: Path, part?: 'key' | 'value') => Place
  readonly warnings: readonly Diagnostic[]
  /** It was made from a mergekit configuration. */
  readonly converted?: true
}
