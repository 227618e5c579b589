import type { Evaluate, StepCommon } from '../../language/types.js'
import type { BatchNormRepair } from '../repair/types.js'

export interface InterpolateStep extends StepCommon {
  readonly kind: 'interpolate'
  readonly from: string
  readonly to: string
  /** The values of t, from `at` or spread evenly. */
  readonly points: readonly number[]
  readonly method: 'linear' | 'slerp'
  readonly keep: boolean
  readonly evaluate?: Evaluate
  /** Repairs every point but the ends. */
  readonly repair?: BatchNormRepair
}
