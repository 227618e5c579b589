import type { AnalysisTensor } from '../../expr/types.js'
import type { MeasuredFile, StepCommon } from '../../language/types.js'
import type { AnalysisCommon } from '../analysis.js'

/** Where the statistics of BatchNorms come from. */
export type BatchNormRepair =
  /** Variances from the correlation of the filters of the averaged models. */
  | 'correlation'
  /** Measured in the network to repair: one file for each model that is repaired. */
  | { readonly statistics: readonly MeasuredFile[] }

export interface RepairStep extends StepCommon {
  readonly kind: 'repair'
  readonly model: string
  readonly batchNorm: BatchNormRepair
}

/** Finds statistics that fit the activations of a merged network. */
export interface RepairAnalysis extends AnalysisCommon {
  readonly kind: 'repair'
  /**
   * By BatchNorm: the variance to correct, and for each averaged model its variance and the filters before the norm.
   */
  readonly norms: readonly {
    readonly tensor: string
    readonly weights: readonly number[]
    readonly variances: readonly AnalysisTensor[]
    readonly filters: readonly AnalysisTensor[]
  }[]
  /** By step, the weights of the models. Absent if there is one step: then those of each norm are used. */
  readonly points?: readonly (readonly number[])[]
  /** Measured means and variances, by step. */
  readonly measured?: readonly { readonly tensor: string; readonly statistics: readonly AnalysisTensor[] }[]
  /** Variances that stay unchanged, with reasons. */
  readonly left: Readonly<Record<string, string>>
}

/** The record of a repair in the lineage. */
export interface RepairRecord {
  readonly batch_norm: 'correlation' | 'statistics'
  /** By name of the running variance; with measured statistics also of the running mean. */
  readonly repaired: Readonly<Record<string, { readonly channels: number }>>
  /** Variances that stay unchanged, with reasons. */
  readonly kept?: Readonly<Record<string, string>>
}
