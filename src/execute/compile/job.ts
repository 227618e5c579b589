import type { ComputedExpr, FactorExpr } from '../../expr/types.js'
import type { ReducePass, TensorSettings } from '../../methods/types.js'
import type { StoredPlace } from '../../plan/stored.js'
import type { Program } from '../program.js'

/** A program with what the scheduler needs besides: workers never see methods. Plain data. */
export interface Job {
  readonly program: Program
  /** By merge index of the program's nodes. */
  readonly merges: readonly JobMerge[]
  /** Leaves whose values are computed when the job's turn has come. */
  readonly computed?: readonly ComputedLeaf[]
  /** What it makes; absent for jobs that only digest or compare. */
  readonly target?: { readonly output: number; readonly tensor: number }
  /** The factoring that it finds, and where that is in the team's memory when it is done. */
  readonly finds?: { readonly factoring: number; readonly at: number }
  /** The factoring that has to be found before it begins. */
  readonly needs?: number
}

/** What a merge's method gets to know, and which of the program's passes are its own. */
export interface JobMerge {
  readonly rule: PassRule
  readonly settings: TensorSettings
  readonly own: readonly number[]
  /** Results of its scope's passes. */
  readonly scope: readonly Float64Array[]
}

/** Where a merge's passes are declared. */
export type PassRule =
  | { readonly kind: 'method'; readonly method: string }
  /** One of the passes over a scope, by the settings of the scope's first tensor. */
  | { readonly kind: 'scope'; readonly method: string; readonly pass: number; readonly settings: TensorSettings }
  /** Passes without coefficients; nothing is made. */
  | { readonly kind: 'plain'; readonly reduces: readonly Pick<ReducePass, 'kernel' | 'slots' | 'combine' | 'maxima'>[] }

export interface ComputedLeaf {
  readonly leaf: number
  readonly from: ComputedExpr | FactorExpr
}

/** Hands out the duty to digest a stored tensor: the first program that reads it has it. */
export interface DigestDuty {
  readonly enabled: boolean
  /** True for the first who asks. */
  takePlace(place: StoredPlace): boolean
}

/** Of programs whose inputs are digested elsewhere, or not at all. */
export const NO_DUTY: DigestDuty = { enabled: false, takePlace: () => false }
