import type { Diagnostic, Place } from '../core/diagnostics.js'
import type { OutputDtype } from '../core/dtypes.js'
import type { Evaluate, LayoutChoice, ModelSource, Path, RecipeHead, Within } from '../language/types.js'
import type { Quantizer } from '../methods/quantize.js'
import type { Step } from '../steps/index.js'
import type { TransplantSettings } from '../steps/transplant/types.js'
import type { Groups } from './matches/types.js'
import type { Search } from './search/types.js'

export interface OutputSpec {
  readonly at: Path
  /** The path in the recipe, or from the command line. */
  readonly path: string
  /** Absolute. */
  readonly resolved: string
  /** The name of a model or step. */
  readonly from: string
  readonly dtype?: OutputDtype
  /** The layouts in which it is written, by name. */
  readonly layout?: readonly (LayoutChoice & { readonly kind: 'name' })[]
  /** Tensors that these layouts have no place for are dropped. */
  readonly drop?: true
  /** For adapters: the format of the file. Default: PEFT's. */
  readonly format?: 'peft' | 'kohya'
  /** How its weights are quantized. */
  readonly quantize?: Quantizer
  /** In bytes. */
  readonly shardSize?: number
  readonly metadata: Readonly<Record<string, string>>
  /** Whether to write the permutations of its models to a file next to it. */
  readonly permutations?: true
  /** Whether to write the SHA-256 of its files for `sha256sum`. */
  readonly checksums?: true
  readonly evaluate?: Evaluate
}

/** Where the embedding of one token comes from. */
export interface TokenChoice {
  readonly from:
    | { readonly kind: 'zero' }
    /** Another token of the model. Default: the same token. */
    | { readonly kind: 'model'; readonly model: string; readonly token?: string; readonly id?: number }
  /** Whether to also replace the embedding in models that have the token. */
  readonly force: boolean
  readonly at: Path
}

export interface TokenizerChoice {
  /** `base`, `union`, or the name of a model. */
  readonly source: string
  readonly tokens: ReadonlyMap<string, TokenChoice>
  /** 1: no padding. */
  readonly padTo: number
  /** The results get the source's vocabulary, and rows of tokens that they lack are approximated. */
  readonly transplant?: TransplantSettings
  readonly at: Path
}

/**
 * A recipe whose text is valid: names resolve, methods and parameters exist, there are no cycles. Short forms are
 * converted to steps.
 */
export interface Recipe extends RecipeHead {
  /** The file's name as the user wrote it. */
  readonly file: string
  /** The folder for relative paths, absolute. */
  readonly folder: string
  /** The absolute path from which a local file is read that the recipe refers to by this path. */
  readonly locate: (written: string) => string
  readonly text: string
  /** The `KEY=VALUE` overrides of `--set`, in order. */
  readonly overrides: readonly string[]
  /** In the order of the recipe. */
  readonly models: ReadonlyMap<string, ModelSource>
  /** The models of patterns of paths, by the name in `models` or the pattern in a list. */
  readonly groups: Groups
  /** In dependency order: a step comes after those it uses. Only steps that an output needs, directly or indirectly. */
  readonly steps: readonly Step[]
  readonly outputs: readonly OutputSpec[]
  readonly compute: 'float32' | 'float64'
  readonly seed: number
  /**
   * Absent if the recipe has no tokenizer: the files of the base, and unchanged embeddings. Absent also if its results get another
   * vocabulary: steps do that.
   */
  readonly tokenizer: TokenizerChoice | undefined
  readonly chatTemplate: string | undefined
  /** What `terge search` varies. */
  readonly search?: Search
  /** The place of a node, or of its key, for errors that planning finds. */
  readonly placeOf: (path: Path, part?: 'key' | 'value', within?: Within) => Place
  readonly warnings: readonly Diagnostic[]
  /** Whether it was converted from a mergekit configuration. */
  readonly converted?: true
}
