import type { ComputedExpr, ConstantExpr, FactorExpr } from '../../expr/types.js'
import type { ReducePass, TensorSettings } from '../../methods/types.js'
import type { StoredPlace } from '../../plan/stored.js'
import type { Program } from '../program.js'
import type { TileRange } from '../schedule/ranges.js'

/** A program with everything else that the scheduler needs: workers know no methods. Plain data. */
export interface Job {
  readonly program: Program
  /** Merges, by the merge index of nodes. */
  readonly merges: readonly JobMerge[]
  /** Leaves whose values are computed just before the job. */
  readonly computed?: readonly ComputedLeaf[]
  /** The result; absent for jobs that only digest or compare. */
  readonly target?: { readonly output: number; readonly tensor: number }
  /** The factoring that it computes, and the address of the result in the team's memory. */
  readonly finds?: { readonly factoring: number; readonly at: number }
  /** The factorings that it needs. */
  readonly needs?: readonly number[]
  /** What an earlier run did of it. Absent: ranges of its tiles are not recorded. */
  readonly done?: readonly TileRange[]
}

/** The input of a merge's method, and which passes of the program belong to the merge. */
export interface JobMerge {
  readonly rule: PassRule
  readonly settings: TensorSettings
  readonly own: readonly number[]
  /** Results of its scope's passes. */
  readonly scope: readonly Float64Array[]
}

/** The declaration of a merge's passes. */
export type PassRule =
  | { readonly kind: 'method'; readonly method: string }
  /** One pass over a scope, with the settings of the scope's first tensor. */
  | { readonly kind: 'scope'; readonly method: string; readonly pass: number; readonly settings: TensorSettings }
  /** Passes without coefficients and without a result. */
  | { readonly kind: 'plain'; readonly reduces: readonly Pick<ReducePass, 'kernel' | 'slots' | 'combine' | 'maxima'>[] }

export interface ComputedLeaf {
  readonly leaf: number
  readonly from: ComputedExpr | ConstantExpr | FactorExpr
}

/** Assigns the digest of a stored tensor to the first program that reads it. */
export interface DigestDuty {
  readonly enabled: boolean
  /** True for the first caller. */
  takePlace(place: StoredPlace): boolean
}

/** For programs whose inputs are digested elsewhere, or not at all. */
export const NO_DUTY: DigestDuty = { enabled: false, takePlace: () => false }
