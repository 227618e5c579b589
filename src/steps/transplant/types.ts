import type { AnalysisTensor } from '../../expr/types.js'
import type { StepCommon } from '../../language/types.js'
import type { AnalysisCommon } from '../analysis.js'

/** How the rows of tokens that the model lacks are made. */
export type Missing = 'omp' | 'nearest' | 'subword' | 'mean' | 'zero'

/** How the nearest rows are chosen and weighed. */
export type NearestWeights = 'distance' | 'cosine' | 'barycentric' | 'least_squares'

/** Which pieces of a token count most. */
export type SubwordWeights = 'even' | 'first' | 'last'

/** Embeddings and heads are approximated apart. */
export type Role = 'embedding' | 'head'

/** The settings of a transplant in a recipe. */
export interface TransplantSettings {
  readonly missing: Missing
  /** The number of rows that are combined, at most. */
  readonly k: number
  readonly nearestWeights: NearestWeights
  readonly subwordWeights: Readonly<Record<Role, SubwordWeights>>
  /** The number of rows is a multiple of it. */
  readonly padTo: number
}

/** Gives a model another model's vocabulary. A recipe's `tokenizer` makes one for each result that is written. */
export interface TransplantStep extends StepCommon, TransplantSettings {
  readonly kind: 'transplant'
  readonly model: string
  readonly donor: string
}

/**
 * Rows of the result, in order, as runs of three numbers: count, source, first row. A source is one of the constants below; rows are
 * rows of the model, or places in the list of approximated tokens.
 */
export type RowRuns = readonly number[]

/** A copy of the model's row. */
export const COPIED = 0
/** The row of a token that the model lacks. */
export const MADE = 1
/** A row without a token, or of a token without a row in the donor: the mean of the model's rows. */
export const FILLED = 2

/** What is approximated in the donor: its embedding, or its head. */
export interface DonorRows {
  readonly role: Role
  readonly tensor: AnalysisTensor
}

/** A tensor of the model with one row per token. */
export interface GrownTensor {
  /** The tensor in the model. */
  readonly tensor: AnalysisTensor
  readonly role: Role
  /** Index into the donor's rows whose approximation it uses. */
  readonly part: number
}

/** Finds the rows that approximate those of missing tokens. */
export interface TransplantAnalysis extends AnalysisCommon {
  readonly kind: 'transplant'
  readonly missing: Missing
  readonly k: number
  readonly nearestWeights?: NearestWeights
  readonly subwordWeights?: Readonly<Record<Role, SubwordWeights>>
  /** The rows of tokens that both models have: rows of the donor, ascending, and of the model. */
  readonly shared: { readonly donor: readonly number[]; readonly model: readonly number[] }
  /** The donor's rows of approximated tokens, ascending. */
  readonly made: readonly number[]
  /** For `subword`: the model's rows of the pieces of each such token. */
  readonly pieces?: readonly (readonly number[])[]
  readonly runs: RowRuns
  readonly rows: number
  /** What is approximated. Empty if no row of the donor is needed. */
  readonly parts: readonly DonorRows[]
  readonly grown: readonly GrownTensor[]
  /** For reports: the approximated tokens with a high error are named. */
  readonly tokens: readonly string[]
}

/** How well the rows of missing tokens are approximated: the norm of what is left of the donor's row, relative to that row. */
export interface ResidualRecord {
  readonly mean: number
  readonly max: number
  /** The tokens with the largest residuals. */
  readonly worst: readonly { readonly token: string; readonly residual: number }[]
  /** The rows that are combined, at most and on average. */
  readonly most: number
  readonly average: number
}

/** The record of a transplant in the lineage. */
export interface TransplantRecord {
  readonly missing: Missing
  /** For `omp` and `nearest`. */
  readonly k?: number
  readonly nearest_weights?: NearestWeights
  readonly subword_weights?: Readonly<Record<Role, SubwordWeights>>
  /** Rows of the result. */
  readonly rows: number
  /** Tokens whose row is the model's. */
  readonly shared: number
  /** Tokens whose row is approximated. */
  readonly approximated: number
  /** Rows without a token, or without a row in the donor. */
  readonly filled: number
  /** For `omp` and `nearest`. */
  readonly residuals?: Readonly<Partial<Record<Role, ResidualRecord>>>
}
