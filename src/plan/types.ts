import type { OutputLayout } from '../checkpoints/types.js'
import type { Diagnostic } from '../core/diagnostics.js'
import type { Dtype, OutputDtype } from '../core/dtypes.js'
import type { HeldWork } from '../kernels/held/types.js'
import type { Resolved } from '../methods/types.js'
import type { SpecText } from '../rebasin/spec.js'

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

/** Elements of a stored tensor, read where it lies. */
export interface ReadExpr {
  readonly kind: 'read'
  readonly file: number
  readonly tensor: string
  readonly dtype: Dtype
  /** Of the first element, in bytes. */
  readonly offset: number
  /** From the first byte to the last. */
  readonly bytes: number
  /** Where the elements do not lie one after the other: the tensor's shape, and its strides in elements. */
  readonly view?: { readonly shape: readonly number[]; readonly strides: readonly number[] }
  /**
   * Permutations that are found when the plan is run, in the order in which they apply, and the tensor's shape. `rows`: only these
   * places along the first axis are read; no plan has it, but who reads a tensor in parts.
   */
  readonly aligned?: {
    readonly shape: readonly number[]
    readonly by: readonly Alignment[]
    readonly rows?: Int32Array
  }
  /** Where the tensor follows another vocabulary: never together with `aligned`. */
  readonly rows?: RowMap
}

/** A tensor put together from rows of stored ones: an embedding, a head. */
export interface RowMap {
  /** Of the result. */
  readonly shape: readonly number[]
  /** Stored tensors of other models with rows of the same length: source 1 is the first of them, 0 the tensor itself. */
  readonly others: readonly ReadExpr[]
  /**
   * Runs of rows in order, three numbers each: how many, source, first row. Source -1: zeros. Source -2: averages, from that
   * index into `means` on. Source -3: the mean of the result's rows before that row, those of source -3 left out.
   */
  readonly runs: readonly number[]
  /** Rows to be averaged: source and row of each, one after the other. */
  readonly means: readonly (readonly number[])[]
}

/** Names the permutations that a step finds for a model's tensor. */
export interface Alignment {
  readonly step: string
  readonly tensor: string
}

/** A tensor that a step computes as a whole when the plan is run: a repaired variance, a rotated matrix. */
export interface ComputedExpr {
  readonly kind: 'computed'
  readonly step: string
  readonly tensor: string
  readonly shape: readonly number[]
  /** What it is computed from. */
  readonly inputs: readonly Expr[]
  /** As in `ReadExpr.aligned`. */
  readonly aligned?: readonly Alignment[]
}

/**
 * A stored tensor with the update of an adapter (LoRA, arXiv 2106.09685): W + scale · L·R, in the compute type and not rounded.
 * W counts as a matrix with a row for each place along its first axis, or, where `left` is absent, as one row.
 */
export interface LoraExpr {
  readonly kind: 'lora'
  /** W. Where it is aligned, the factors follow it. */
  readonly base: ReadExpr
  /** Of W. */
  readonly shape: readonly number[]
  readonly rank: number
  /** `lora_scale` times what the adapter's configuration says: alpha / rank, or alpha / √rank. */
  readonly scale: number
  /** Rows × rank; absent: a one. */
  readonly left?: LoraFactor
  /** Rank × columns. */
  readonly right: LoraFactor
}

export interface LoraFactor {
  readonly read: ReadExpr
  /** The rank is the first axis of the stored tensor, else the second one. */
  readonly byRank: boolean
}

/** A merge of tensors of one shape, in the compute type, not rounded in between: steps fuse. */
export interface MergeExpr {
  readonly kind: 'merge'
  /** The step it belongs to. */
  readonly step: string
  readonly method: string
  /** Participating models' or steps' names, as lineage shows them. */
  readonly models: readonly string[]
  readonly weights: readonly number[]
  readonly parameters: Readonly<Record<string, Resolved>>
  readonly inputs: readonly Expr[]
  readonly base?: Expr
  /** By model: what its method needs to know besides; further inputs of its kernels. */
  readonly statistics?: readonly Expr[]
  /** Index into `Plan.scopes`: its method looks at all of those tensors first. */
  readonly scopeIndex?: number
  /** Of what it makes, where it goes into a tensor with another number of rows. */
  readonly shape?: readonly number[]
  /** What it makes is rounded to this dtype before anything else uses it. */
  readonly rounded?: OutputDtype
}

/**
 * A tensor of which only the first rows are merged, since not all models have them all; the others are the base's. Inputs of
 * the merge with more rows are read as far as it goes.
 */
export interface CropExpr {
  readonly kind: 'crop'
  /** Of the merge. */
  readonly step: string
  /** Of the whole: the base's. */
  readonly shape: readonly number[]
  /** `shape` says of how many rows. */
  readonly merge: MergeExpr
  readonly base: Expr
  /** Models whose tensor has another number of rows than the base's. */
  readonly cropped: readonly string[]
}

/** Tensors of a step that their method looks at all together before it makes the first of them. */
export interface PlanScope {
  readonly tensors: readonly { readonly name: string; readonly shape: readonly number[]; readonly expr: MergeExpr }[]
}

/** One of the two factors of a difference; both are found at once. */
export interface FactorExpr {
  readonly kind: 'factor'
  readonly step: string
  /** Index into `Plan.factorings`. */
  readonly factoring: number
  /** The adapter's A, [rank, in], or its B, [out, rank]. */
  readonly factor: 'a' | 'b'
  readonly shape: readonly number[]
  /** The tuned model's tensor, and the base's. */
  readonly inputs: readonly [from: Expr, base: Expr]
}

/** A difference of tensors that is taken apart into low-rank factors when the first of them is written. */
export interface PlanFactoring {
  readonly step: string
  /** The base's name for it. */
  readonly tensor: string
  /** As stored. */
  readonly shape: readonly number[]
  readonly from: Expr
  readonly base: Expr
  readonly work: HeldWork
}

export type Expr = ReadExpr | MergeExpr | LoraExpr | CropExpr | ComputedExpr | FactorExpr

/** A tensor that an analysis reads. */
export interface AnalysisTensor {
  readonly name: string
  readonly dtype: Dtype
  readonly shape: readonly number[]
  readonly expr: Expr
}

export interface AnalysisModel {
  readonly name: string
  readonly tensors: readonly AnalysisTensor[]
  readonly config?: Readonly<Record<string, unknown>>
}

/** Work on whole models that comes before any tensor is written; its results are small, and recorded in the lineage. */
export type Analysis = RebasinAnalysis | RepairAnalysis

export interface RebasinAnalysis {
  readonly kind: 'rebasin'
  /** By model that moves: the step that stands for it. */
  readonly steps: readonly string[]
  readonly method: 'weight-matching' | 'merge-many' | 'c2m3'
  readonly symmetry: 'permutation' | 'orthogonal'
  readonly seed: number
  readonly maxIterations: number
  /** Of the spec: `llama`, `resnet`, … or `written`. */
  readonly family: string
  readonly spec: SpecText
  readonly onto: AnalysisModel
  readonly models: readonly AnalysisModel[]
}

export interface RepairAnalysis {
  readonly kind: 'repair'
  readonly step: string
  /** By BatchNorm: the variance that is corrected, and of each averaged model its variance and the filters that feed the norm. */
  readonly norms: readonly {
    readonly tensor: string
    readonly weights: readonly number[]
    readonly variances: readonly AnalysisTensor[]
    readonly filters: readonly AnalysisTensor[]
  }[]
  /** Variances that stay as they are, and why. */
  readonly left: Readonly<Record<string, string>>
}

/** One tensor of an output: where it goes and how it comes about. */
export interface PlanTensor {
  readonly name: string
  readonly dtype: Dtype
  readonly shape: readonly number[]
  /** Index into the output layout's files. */
  readonly file: number
  readonly offset: number
  readonly bytes: number
  readonly expr: Expr
  /** The rule of the recipe that chose the method: index, or -1 for the merge's own settings. Absent for copies. */
  readonly rule?: number
  /** For a copied tensor, why. */
  readonly reason?: CopyReason
  /** Participants that were left out of this tensor, and why. */
  readonly absent?: readonly { readonly model: string; readonly reason: AbsentReason }[]
}

export type AbsentReason = 'missing' | 'shape' | 'dtype'
export type CopyReason =
  | 'not included by filters'
  | 'excluded by filters'
  | 'not a floating-point dtype'
  | 'packed weights, kept as they are'
  | 'too few models have it'
  | 'the output is this model'
  | 'aligned by a rebasin'
  | 'not touched by the alignment'
  | 'repaired'
  | 'taken from its layer'
  | 'saved whole beside the adapter'

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

export interface PatternCount {
  readonly pattern: string
  readonly where: 'include' | 'exclude' | 'rule'
  readonly rule?: number
  /** Names of the base that it matches. */
  readonly matches: number
  /** Tensors that it decided. */
  readonly applies: number
}

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

/** What an analysis takes. */
export interface AnalysisCost {
  /** The steps that it is for. */
  readonly steps: readonly string[]
  /** Of memory, at the least: with more it reads less often. */
  readonly bytes: number
  /** Of one sweep or round, roughly. */
  readonly multiplications: number
}

/** The compiled recipe: a frozen, plain value. `execute` runs this and nothing else. */
export interface Plan {
  readonly plan: 1
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
     * Where matrices are held whole: the tensor that takes the most memory, how many bytes, and the multiplications and
     * additions of all such tensors, roughly.
     */
    readonly held?: {
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
