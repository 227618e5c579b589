import type { OutputLayout, PlacedTensor } from '../checkpoints/types.js'
import type { Diagnostic } from '../core/diagnostics.js'
import type { Dtype } from '../core/dtypes.js'
import type { AbsentReason, CopyReason } from '../core/reasons.js'
import type { Expr, PatternCount, PlanFactoring, PlanScope } from '../expr/types.js'
import type { Quantizer } from '../methods/quantize.js'
import type { AnalysisCost } from '../steps/analysis.js'
import type { Analysis, StepSaid } from '../steps/index.js'

/** A file that the run reads. Everything else refers to it by its index in `Plan.files`. */
export interface PlanFile {
  /** Index into `Plan.models`. */
  readonly model: number
  readonly name: string
  readonly size: number
  readonly headerBytes: number
  readonly headerDigest: string
  /** Of an object in a store, without quotation marks. */
  readonly etag?: string
  /** All its tensors, sorted by offset. The run reads unused tensors once, for the file's digest. */
  readonly tensors: readonly { readonly name: string; readonly offset: number; readonly bytes: number }[]
}

export interface PlanModel {
  readonly name: string
  readonly reference: string
  readonly revision?: string
  /** The pattern of paths in the recipe that matches it. Not part of the digest. */
  readonly pattern?: string
  /** The formats of its quantized weights: each once, sorted. */
  readonly quantized?: readonly string[]
  /** The files that the recipe's `config` of this model means, and their SHA-256. */
  readonly config?: readonly { readonly file: string; readonly sha256: string }[]
  /** The layouts that its tensors certainly have: `mixtral/released`. Not part of the digest. */
  readonly layouts?: readonly string[]
  /** The layouts that they are read as, if these differ. Not part of the digest. */
  readonly readAs?: readonly string[]
}

/**
 * Where and as what a part of a computed tensor is stored: `count` elements in row-major order, from element `from`.
 */
export interface Placement extends PlacedTensor {
  readonly from: number
  readonly count: number
}

/** One computed tensor of an output: the expression that makes it, and where it is stored. */
export interface PlanTensor {
  readonly name: string
  readonly dtype: Dtype
  readonly shape: readonly number[]
  /** The stored parts that hold its elements; usually one. */
  readonly placements: readonly Placement[]
  readonly expr: Expr
  /** How it is quantized. Its scales are its second placement: float32, with their own name and shape. */
  readonly quantized?: Quantizer
  /** Index of the recipe's rule that chose the method, or -1 for the merge's own settings. Absent for copies. */
  readonly rule?: number
  /** Why the tensor is copied. Absent if it is computed. */
  readonly reason?: CopyReason
  /** Models that were skipped for this tensor, and why. */
  readonly absent?: readonly { readonly model: string; readonly reason: AbsentReason }[]
}

/** One output of a plan: its files, and each tensor with its place in them. */
export interface PlanOutput {
  /** As written; not part of the digest. */
  readonly path: string
  /** Index into the recipe's outputs. */
  readonly spec: number
  /** The point of an interpolation: its name in the output folder, and its position between the two models. */
  readonly point?: { readonly step: string; readonly name: string; readonly t: number }
  /** False: the checkpoint is evaluated and then deleted; its lineage is kept. */
  readonly keep: boolean
  /** The command to run on the finished checkpoint. `{model}` is replaced by its path. */
  readonly evaluate?: {
    readonly command: readonly string[]
    /** Names of environment variables with credentials that the command may see. */
    readonly env?: readonly string[]
    /** In seconds. */
    readonly timeout?: number
  }
  /** Only if `keep` is false: the checkpoint is a single file, and `{model}` is the path of that file. */
  readonly single?: true
  /** Of a check: evaluated before any other output is made, and not kept. */
  readonly check?: 'before' | 'after'
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
  /** Small files, copied from a model (an index into `Plan.models`) or written with new text. */
  readonly sidecars: readonly Sidecar[]
  readonly metadata: Readonly<Record<string, string>>
  /** The steps whose permutations are written to a file next to the output, with the tensors that keep their order. */
  readonly permutations?: readonly { readonly step: string; readonly untouched: readonly string[] }[]
  /** Whether to write the SHA-256 of its files for `sha256sum`; not part of the digest. */
  readonly checksums?: true
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
  /** By model: the number of the result's tokens that it has a row for, and the digest of its row map. */
  readonly models: Readonly<Record<string, { readonly found: number; readonly rows: string }>>
}

/** What a model gives to a merged vocabulary, and what its embedding is made of. */
export interface TokenSources {
  /** Tokens that no other model has. */
  readonly only: number
  /** Rows of tokens in its embedding by the model that they are copied from, itself included. */
  readonly from: Readonly<Record<string, number>>
  /** Rows that are the mean of several models' rows. */
  readonly means: number
  readonly zeros: number
}

/** A command that must print the same metrics for a model before and after a step. */
export interface PlanCheck {
  readonly step: string
  /** The largest difference of a metric, as a share of its value. */
  readonly tolerance: number
  /** The model before the step and its result, which the command evaluates one after the other. */
  readonly outputs: readonly [before: PlanOutput, after: PlanOutput]
  /** What making both reads and writes, in bytes. */
  readonly cost: { readonly read: number; readonly write: number }
}

/** The compiled recipe: a frozen, plain value. `execute` runs this and nothing else. */
export interface Plan {
  /** Version of the format. */
  readonly plan: 2
  /** The precision of the arithmetic. */
  readonly compute: 'float32' | 'float64'
  /** The seed of random choices. */
  readonly seed: number
  /** The models that the plan reads, with their references and files. */
  readonly models: readonly PlanModel[]
  /** The files that the plan reads. */
  readonly files: readonly PlanFile[]
  /** What is written: files, and an expression for each tensor. */
  readonly outputs: readonly PlanOutput[]
  /** What is checked before any output is published. Not part of the digest. Absent if nothing is. */
  readonly checks?: readonly PlanCheck[]
  /** In execution order. */
  readonly analyses: readonly Analysis[]
  /** In execution order: scopes of inner steps first. */
  readonly scopes: readonly PlanScope[]
  /** Factorizations for extracted adapters. Each gives both factors of one module. */
  readonly factorings: readonly PlanFactoring[]
  /** By step: its kind and its patterns, for the report. */
  readonly steps: readonly {
    readonly name: string
    readonly kind: string
    readonly patterns: readonly PatternCount[]
    /** For an extraction: tensors that the adapter skips, and why. */
    readonly left?: Readonly<Record<string, string>>
    /** What the lineage records of it, besides what is found during the run. */
    readonly says?: StepSaid
  }[]
  /** What a run reads, writes and holds in memory. */
  readonly cost: {
    /** Bytes of tensor data. A tensor that is read in several passes counts each time. */
    readonly read: number
    readonly write: number
    /**
     * If methods hold whole matrices: the tensor that needs the most memory, its step, its bytes, and the approximate
     * multiply-adds of all such tensors.
     */
    readonly held?: {
      readonly step: string
      readonly tensor: string
      readonly method: string
      readonly bytes: number
      readonly operations: number
    }
    /** One entry per analysis. Absent if there are none. */
    readonly analyses?: readonly AnalysisCost[]
  }
  /** The resulting vocabulary, for the lineage. Absent if the recipe does not set `tokenizer`. */
  readonly tokenizer?: TokenizerRecord
  /** By model with embeddings, if there is a resulting vocabulary. For people; not part of the digest. */
  readonly tokenSources?: Readonly<Record<string, TokenSources>>
  /** Warnings of planning. */
  readonly warnings: readonly Diagnostic[]
  /** `sha256:…` over everything that decides the output's bytes; not over paths, threads or memory. */
  readonly digest: string
}
