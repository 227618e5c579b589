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

/** What the lineage keeps of an extraction. */
export interface ExtractRecord {
  /** By tensor of the base. */
  readonly modules: Readonly<
    Record<
      string,
      {
        readonly method: string
        readonly rank: number
        /** Singular triplets that were found. */
        readonly found: number
        /** Of the difference. */
        readonly norm: number
        /** Share of the squared difference that is kept; null where there is no difference. */
        readonly energy: number | null
      }
    >
  >
  /** Modules with a difference. */
  readonly changed: number
  /** Shares of the squared difference: of all of it, and by module. */
  readonly energy: { readonly total: number; readonly mean: number; readonly least: number }
  /** Tensors that the adapter has nothing of, and why. */
  readonly left?: Readonly<Record<string, string>>
}
