import type { Dtype, OutputDtype } from '../core/dtypes.js'
import type { HeldWork } from '../kernels/held/types.js'
import type { Resolved } from '../methods/types.js'

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

/** How a tensor comes about, as a tree over stored tensors. */
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

/** Why a participant has no part in a tensor: it has none of the name, or one of another shape or dtype. */
export type AbsentReason = 'missing' | 'shape' | 'dtype'

/** Why a tensor is copied from one model instead of merged. */
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

/** What a pattern of a recipe matched. */
export interface PatternCount {
  readonly pattern: string
  readonly where: 'include' | 'exclude' | 'rule'
  readonly rule?: number
  /** Names of the base that it matches. */
  readonly matches: number
  /** Tensors that it decided. */
  readonly applies: number
}
