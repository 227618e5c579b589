import type { Passes, TensorSettings } from '../../methods/types.js'
import type { StoredPlace } from '../../plan/stored.js'
import type { Program } from '../program.js'

/** A program with what the scheduler needs besides: workers never see methods. */
export interface Job {
  readonly program: Program
  /** By merge index of the program's nodes: what its method says, and which of the program's passes are its own. */
  readonly merges: readonly {
    readonly settings: TensorSettings
    readonly passes: Passes
    readonly own: readonly number[]
    /** Results of its scope's passes. */
    readonly scope: readonly Float64Array[]
  }[]
  /** The program again, with what has to be there before it begins; called when its turn has come. */
  readonly prepare?: () => Promise<Program>
  /** What it makes; absent for jobs that only digest or compare. */
  readonly target?: { readonly output: number; readonly tensor: number }
  /** The factoring that it finds, and where that is in the team's memory when it is done. */
  readonly finds?: { readonly factoring: number; readonly at: number }
  /** The factoring that has to be found before it begins. */
  readonly needs?: number
}

/** Hands out the duty to digest a stored tensor: the first program that reads it has it. */
export interface DigestDuty {
  readonly enabled: boolean
  /** True for the first who asks. */
  takePlace(place: StoredPlace): boolean
}

/** Of programs whose inputs are digested elsewhere, or not at all. */
export const NO_DUTY: DigestDuty = { enabled: false, takePlace: () => false }
