import type { Dtype, OutputDtype } from '../core/dtypes.js'
import type { HeldWork } from '../kernels/held/types.js'
import type { Resolved } from '../methods/types.js'
import type { Finding, View } from '../views/types.js'

/** Elements of stored tensors, read in place. */
export interface ReadExpr {
  readonly kind: 'read'
  readonly view: View
}

/** A tensor that a step computes as a whole during the run, such as a repaired variance or a rotated matrix. */
export interface ComputedExpr {
  readonly kind: 'computed'
  readonly step: string
  readonly tensor: string
  readonly shape: readonly number[]
  /** Its inputs. */
  readonly inputs: readonly Expr[]
  /** Permutations through which it is read. The first one applies first. */
  readonly aligned?: readonly Finding[]
}

/**
 * A stored tensor with an adapter's update (LoRA, arXiv 2106.09685): W + scale · L·R, in the compute type and without
 * rounding. W counts as a matrix with one row per index of its first axis, or as a single row if `left` is absent.
 */
export interface LoraExpr {
  readonly kind: 'lora'
  /** W. If W is aligned, the factors are aligned too. Absent: the update alone. */
  readonly base?: ReadExpr
  /** Without W: permutations of the update. The first one applies first. */
  readonly aligned?: readonly Finding[]
  /**
   * The number of matrices in W, one for each place along its first axis: experts. Their rows are one after the other, and
   * each matrix has an own right factor. By default there is one matrix.
   */
  readonly matrices?: number
  /** The shape of W, which is that of the update. */
  readonly shape: readonly number[]
  readonly rank: number
  /** `lora_scale` times the scale of the adapter's configuration: alpha / rank, or alpha / √rank. */
  readonly scale: number
  /** Rows × rank, the rows of all matrices. Absent: a single 1. */
  readonly left?: LoraFactor
  /** Rank × columns, for each matrix. */
  readonly right: LoraFactor
}

export interface LoraFactor {
  readonly read: ReadExpr
  /** Elements of the same number and order, with which they are multiplied. */
  readonly times?: ReadExpr
  /**
   * For a right factor by rank: a tensor [rank, inner, kernel], and `read` is a matrix [inner, inputs]. Row r of the factor
   * has the elements Σ core[r, s, k] · read[s, i] for each input i and, fastest, each place k of the kernel.
   */
  readonly core?: { readonly read: ReadExpr; readonly inner: number }
  /** Whether the rank is the first axis of the tensor, or of each matrix. Otherwise it is the second. */
  readonly byRank: boolean
}

/** A merge of tensors of the same shape, in the compute type. Nested merges are fused, without rounding in between. */
export interface MergeExpr {
  readonly kind: 'merge'
  /** The name of its step. */
  readonly step: string
  readonly method: string
  /** The names of the merged models or steps, as in the lineage. */
  readonly models: readonly string[]
  readonly weights: readonly number[]
  readonly parameters: Readonly<Record<string, Resolved>>
  readonly inputs: readonly Expr[]
  readonly base?: Expr
  /** By model: the statistics that the method needs. They are further inputs of its kernels. */
  readonly statistics?: readonly Expr[]
  /** Index into `Plan.scopes`: the method needs all of those tensors first. */
  readonly scopeIndex?: number
  /** The shape of the result, if it is part of a tensor with another number of rows. */
  readonly shape?: readonly number[]
  /** Round the result to this dtype before anything else uses it. */
  readonly rounded?: OutputDtype
  /** Compute in float64, whatever the recipe says. */
  readonly precise?: true
}

/**
 * A tensor of which only the first rows are merged, because some models lack the others. The other rows come from the
 * base. Inputs with more rows are read only up to the last merged row.
 */
export interface CropExpr {
  readonly kind: 'crop'
  /** The first rows: the result of the merge. */
  readonly step: string
  /** The shape of the whole tensor, which is that of the base. */
  readonly shape: readonly number[]
  /** `shape` gives the number of rows. */
  readonly merge: MergeExpr
  readonly base: Expr
  /** Models whose tensor has another number of rows than the base. */
  readonly cropped: readonly string[]
}

/** Tensors of a step that the method needs together before it makes the first of them. */
export interface PlanScope {
  readonly tensors: readonly { readonly name: string; readonly shape: readonly number[]; readonly expr: MergeExpr }[]
}

/** scale · B·A with A as [rank, columns] and B as [rows, rank], in the order of their elements. */
export interface LowRankPart {
  readonly a: Expr
  readonly b: Expr
  readonly rank: number
  readonly scale: number
}

/** Low-rank changes of one weight [rows, columns] by several adapters. */
export interface LowRank {
  readonly rows: number
  readonly columns: number
  readonly parts: readonly LowRankPart[]
}

/** One of several low-rank changes as a small matrix, in the basis of the singular vectors of all of them. */
export interface CoreExpr {
  readonly kind: 'core'
  readonly step: string
  readonly of: LowRank
  /** Index into the changes. -1: no change, a matrix of zeros. */
  readonly part: number
  readonly shape: readonly number[]
}

/** One of the two factors of a difference, or of merged low-rank changes. Both are computed at once. */
export interface FactorExpr {
  readonly kind: 'factor'
  readonly step: string
  /** Index into `Plan.factorings`. */
  readonly factoring: number
  /** The factorings of the other experts, if the factors of several experts are stored as one tensor. */
  readonly more?: readonly number[]
  /** The adapter's A, [rank, in], or B, [out, rank]. */
  readonly factor: 'a' | 'b'
  readonly shape: readonly number[]
  /** The tensors of the fine-tuned model and of the base, or the factors that are merged. */
  readonly inputs: readonly Expr[]
  /** For merged adapters: how their changes are merged. */
  readonly merged?: Merged
}

/** How low-rank changes are merged, for reports. */
export interface Merged {
  readonly method: string
  /** The adapters that change the weight. */
  readonly models: readonly string[]
  readonly weights: readonly number[]
  readonly parameters: Readonly<Record<string, Resolved>>
}

/** Low-rank factors that are computed when the first of them is written. */
export interface PlanFactoring {
  readonly step: string
  /** The tensor name in the base. For adapters: the name of the weight that they change. */
  readonly tensor: string
  /** The shape of `from`, as stored. */
  readonly shape: readonly number[]
  /** A difference from `base`, which is decomposed; or a merge of cores. Absent if factors of `changes` are only joined. */
  readonly from?: Expr
  readonly base?: Expr
  /** For a merge of adapters. */
  readonly changes?: LowRank
  readonly work: HeldWork
}

/** A tensor of equal elements that a format needs, such as the `alpha` of an adapter. */
export interface ConstantExpr {
  readonly kind: 'constant'
  readonly step: string
  readonly value: number
  readonly shape: readonly number[]
}

/** How a tensor is made, as a tree over stored tensors. */
export type Expr = ReadExpr | MergeExpr | LoraExpr | CropExpr | ComputedExpr | FactorExpr | CoreExpr | ConstantExpr

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

/** Why a model does not contribute to a tensor: it lacks the name, or has it in another shape or dtype. */
export interface PatternCount {
  readonly pattern: string
  readonly where: 'include' | 'exclude' | 'rule'
  readonly rule?: number
  /** The number of matching names of the base. */
  readonly matches: number
  /** The number of tensors for which it decided. */
  readonly applies: number
}
