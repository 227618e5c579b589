import type { OutputDtype } from '../../core/dtypes.js'
import type { Filters, Gradient, LocatedPattern, ParameterValue, Path, StepCommon } from '../../language/types.js'

/** A method with all of its settings, after inheritance between rule and merge. */
export interface MergeSettings {
  readonly method: string
  readonly at: Path
  /** Names of models or steps in order, including the default. */
  readonly models: readonly string[]
  /** Same length as `models`. Default: 1 for each. */
  readonly weights: readonly Gradient[]
  /** The place of the weights, for errors in planning. */
  readonly weightsAt: Path
  /** Only the parameters in the recipe. The defaults are in the method. */
  readonly parameters: ReadonlyMap<string, { readonly value: ParameterValue; readonly at: Path }>
}

export interface MergeRule {
  readonly match: readonly LocatedPattern[]
  readonly settings: MergeSettings
}

export interface MergeStep extends StepCommon {
  readonly kind: 'merge'
  /** The name of a model or step. */
  readonly base: string
  /** Whether the recipe has `base`. Methods with an optional base use differences only then. */
  readonly baseWritten: boolean
  readonly filters: Filters
  readonly settings: MergeSettings
  readonly rules: readonly MergeRule[]
  readonly onMissing: 'copy' | 'keep' | 'error'
  readonly onMismatch: 'copy' | 'error' | 'crop'
  /** Round the results to this dtype before other steps use them. */
  readonly dtype?: OutputDtype
  /** For adapters: the rank of the result. `full`: the exact result. */
  readonly rank?: number | 'full'
  /** For adapters: the smallest rank that keeps this share of the squared change of each module. */
  readonly energy?: number
}
