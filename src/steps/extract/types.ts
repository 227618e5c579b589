import type { Filters, StepCommon } from '../../language/types.js'

export interface ExtractStep extends StepCommon {
  readonly kind: 'extract'
  readonly from: string
  readonly base: string
  readonly rank: number
  /** The rank where nothing is written: then the reader's scale is 1. */
  readonly alpha: number
  readonly filters: Filters
  /** What no low-rank matrix can be is saved whole. */
  readonly modulesToSave: boolean
  /** Differences of biases are held beside the factors. */
  readonly loraBias: boolean
  readonly method: 'auto' | 'exact' | 'randomised'
  readonly oversampling: number
  readonly iterations: number
}
