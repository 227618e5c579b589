import type { OutputDtype } from '../../core/dtypes.js'
import type { Filters, Gradient, LocatedPattern, ParameterValue, Path, StepCommon } from '../../language/types.js'

/** One method with everything that was written for it, inheritance between rule and merge already applied. */
export interface MergeSettings {
  readonly method: string
  readonly at: Path
  /** Participants in order, already with the default filled in; names of models or steps. */
  readonly models: readonly string[]
  /** Same length as `models`: 1 where nothing was written. */
  readonly weights: readonly Gradient[]
  /** Where the weights were written, for faults found in planning. */
  readonly weightsAt: Path
  /** Only what was written; defaults are the method's. */
  readonly parameters: ReadonlyMap<string, { readonly value: ParameterValue; readonly at: Path }>
}

export interface MergeRule {
  readonly match: readonly LocatedPattern[]
  readonly settings: MergeSettings
}

export interface MergeStep extends StepCommon {
  readonly kind: 'merge'
  /** A model or step. */
  readonly base: string
  /** The recipe wrote `base` itself; methods whose base is optional work on δ only then. */
  readonly baseWritten: boolean
  readonly filters: Filters
  readonly settings: MergeSettings
  readonly rules: readonly MergeRule[]
  readonly onMissing: 'copy' | 'keep' | 'error'
  readonly onMismatch: 'copy' | 'error' | 'crop'
  /** What it makes is rounded to this dtype before other steps use it. */
  readonly dtype?: OutputDtype
}
