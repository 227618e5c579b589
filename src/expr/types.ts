import type { Dtype, OutputDtype } from '../core/dtypes.js'
import type { HeldWork } from '../kernels/held/types.js'
import type { Resolved } from '../methods/types.js'
import type { Finding, View } from '../views/types.js'

/** Elements of stored tensors, read where they lie. */
export interface ReadExpr {
  readonly kind: 'read'
  readonly view: View
}

/** A tensor that a step computes as a whole when the plan is run: a repaired variance, a rotated matrix. */
export interface ComputedExpr {
  readonly kind: 'computed'
  readonly step: string
  readonly tensor: string
  readonly shape: readonly number[]
  /** What it is computed from. */
  readonly inputs: readonly Expr[]
  /** Permutations that it is read through, the first that applies first. */
  readonly aligned?: readonly Finding[]
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
export interface PatternCount {
  readonly pattern: string
  readonly where: 'include' | 'exclude' | 'rule'
  readonly rule?: number
  /** Names of the base that it matches. */
  readonly matches: number
  /** Tensors that it decided. */
  readonly applies: number
}
