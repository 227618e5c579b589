import type { AnalysisTensor } from '../../expr/types.js'
import type { StepCommon } from '../../language/types.js'
import type { AnalysisCommon } from '../analysis.js'

export interface RepairStep extends StepCommon {
  readonly kind: 'repair'
  readonly model: string
  readonly batchNorm: 'correlation'
}

/** The search for scales that give a merged network's activations the statistics of its parents. */
export interface RepairAnalysis extends AnalysisCommon {
  readonly kind: 'repair'
  /** By BatchNorm: the variance that is corrected, and of each averaged model its variance and the filters that feed the norm. */
  readonly norms: readonly {
    readonly tensor: string
    readonly weights: readonly number[]
    readonly variances: readonly AnalysisTensor[]
    readonly filters: readonly AnalysisTensor[]
  }[]
  /** Variances that stay as they are, and why. */
  readonly left: Readonly<Record<string, string>>
}

/** What the lineage keeps of a repair. */
export interface RepairRecord {
  readonly batch_norm: 'correlation'
  /** By running variance. */
  readonly repaired: Readonly<Record<string, { readonly channels: number }>>
  /** Variances that stay as they are, and why. */
  readonly kept?: Readonly<Record<string, string>>
}
