import type { AnalysisTensor } from '../../expr/types.js'
import type { StepCommon } from '../../language/types.js'
import type { AnalysisCommon } from '../analysis.js'

export interface RepairStep extends StepCommon {
  readonly kind: 'repair'
  readonly model: string
  readonly batchNorm: 'correlation'
}

/** Finds variances that give the activations of a merged network the statistics of the merged models. */
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
  /** Variances that stay unchanged, with reasons. */
  readonly left: Readonly<Record<string, string>>
}

/** The record of a repair in the lineage. */
export interface RepairRecord {
  readonly batch_norm: 'correlation'
  /** By name of the running variance. */
  readonly repaired: Readonly<Record<string, { readonly channels: number }>>
  /** Variances that stay unchanged, with reasons. */
  readonly kept?: Readonly<Record<string, string>>
}
