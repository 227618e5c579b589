import type { OutputLayout, PlacedTensor } from '../checkpoints/types.js'
import type { Diagnostic } from '../core/diagnostics.js'
import type { Dtype } from '../core/dtypes.js'
import type { AbsentReason, CopyReason } from '../core/reasons.js'
import type { Expr, PatternCount, PlanFactoring, PlanScope } from '../expr/types.js'
import type { AnalysisCost } from '../steps/analysis.js'
import type { Analysis } from '../steps/index.js'

/** A file that the run reads: an index into `Plan.files` names it from everywhere else. */
export interface PlanFile {
  /** Index into `Plan.models`. */
  readonly model: number
  readonly name: string
  readonly size: number
  readonly headerBytes: number
  readonly headerDigest: string
  /** All of its tensors in the order in which they lie: what no output uses is read once for the file's digest. */
  readonly tensors: readonly { readonly name: string; readonly offset: number; readonly bytes: number }[]
}

export interface PlanModel {
  readonly name: string
  readonly reference: string
  readonly revision?: string
}

/** Where a part of a computed tensor is stored, and as what: `count` of its elements in row-major order, from element `from` on. */
export interface Placement extends PlacedTensor {
  readonly from: number
  readonly count: number
}

/** One computed tensor of an output: how it comes about, and where it is stored. */
export interface PlanTensor {
  readonly name: string
  readonly dtype: Dtype
  readonly shape: readonly number[]
  /** The stored tensors that hold its elements; a plain one is stored as one. */
  readonly placements: readonly Placement[]
  readonly expr: Expr
  /** The rule of the recipe that chose the method: index, or -1 for the merge's own settings. Absent for copies. */
  readonly rule?: number
  /** For a copied tensor, why. */
  readonly reason?: CopyReason
  /** Participants that were left out of this tensor, and why. */
  readonly absent?: readonly { readonly model: string; readonly reason: AbsentReason }[]
}

/** One output of a plan: its files, and each tensor with its place in them. */
export interface PlanOutput {
  /** As written; not part of the digest. */
  readonly path: string
  /** Index into the recipe's outputs. */
  readonly spec: number
  /** A point of an interpolation: its name in the output folder, and its place between the two models. */
  readonly point?: { readonly step: string; readonly name: string; readonly t: number }
  /** False: it is evaluated and dropped; its lineage stays. */
  readonly keep: boolean
  /** Run on the finished checkpoint; `{model}` stands for its path. */
  readonly evaluate?: {
    readonly command: readonly string[]
    /** Names of credentials in the environment that it may see. */
    readonly env?: readonly string[]
    /** Seconds. */
    readonly timeout?: number
  }
  /** Of what is not kept: it would be one file, whose path `{model}` then is. */
  readonly single?: true
  readonly layout: 'file' | 'folder'
  /** A model or step. */
  readonly from: string
  readonly files: readonly {
    readonly name: string
    readonly size: number /** JSON, padded. */
    readonly header: string
  }[]
  readonly indexes: OutputLayout['indexes']
  readonly tensors: readonly PlanTensor[]
  /** Small files taken over from the base's folder: file name → index into `Plan.models` it comes from, or new text. */
  readonly sidecars: readonly Sidecar[]
  readonly metadata: Readonly<Record<string, string>>
}

export type Sidecar =
  | { readonly name: string; readonly kind: 'copy'; readonly model: number }
  | { readonly name: string; readonly kind: 'text'; readonly text: string }

export interface TokenizerRecord {
  /** `base`, `union`, or a model. */
  readonly source: string
  /** The model whose vocabulary comes first. */
  readonly first: string
  readonly tokens: number
  /** Rows of embeddings. */
  readonly rows: number
  /** Tokens that the first model lacks. */
  readonly added: number
  /** By model: tokens of the result that it has a row for, and the digest of its map of rows. */
  readonly models: Readonly<Record<string, { readonly found: number; readonly rows: string }>>
}

/** The compiled recipe: a frozen, plain value. `execute` runs this and nothing else. */
export interface Plan {
  readonly plan: 2
  readonly compute: 'float32' | 'float64'
  readonly seed: number
  readonly models: readonly PlanModel[]
  readonly files: readonly PlanFile[]
  readonly outputs: readonly PlanOutput[]
  /** In the order in which they are done. */
  readonly analyses: readonly Analysis[]
  /** In the order in which they can be looked at: those of inner steps first. */
  readonly scopes: readonly PlanScope[]
  /** What adapters are made of: factors of one are found together. */
  readonly factorings: readonly PlanFactoring[]
  /** By step: what it is and its patterns, for the report. */
  readonly steps: readonly {
    readonly name: string
    readonly kind: string
    readonly patterns: readonly PatternCount[]
    /** Of an extraction: tensors that the adapter has nothing of, and why. */
    readonly left?: Readonly<Record<string, string>>
  }[]
  readonly cost: {
    /** Bytes of tensor data; a tensor that is read in several passes counts each time. */
    readonly read: number
    readonly write: number
    /**
     * Where matrices are held whole: the tensor that takes the most memory and the step that makes it, how many bytes, and the multiplications and
     * additions of all such tensors, roughly.
     */
    readonly held?: {
      readonly step: string
      readonly tensor: string
      readonly method: string
      readonly bytes: number
      readonly operations: number
    }
    /** By analysis, where there are any. */
    readonly analyses?: readonly AnalysisCost[]
  }
  /** What became of the vocabulary, for the lineage; absent where the recipe says nothing of it. */
  readonly tokenizer?: TokenizerRecord
  readonly warnings: readonly Diagnostic[]
  /** `sha256:…` over all that decides the bytes: not over paths, threads or memory. */
  readonly digest: string
}
