import type { Filters, LocatedPattern, StepCommon } from '../../language/types.js'

export interface ExtractStep extends StepCommon {
  readonly kind: 'extract'
  /** The key of its settings in the recipe. */
  readonly key: 'lora' | 'lokr'
  /** A Kronecker product instead of low-rank factors. */
  readonly lokr?: { readonly factor: number }
  readonly from: string
  readonly base: string
  /** At least one of these three is there. */
  readonly rank?: number
  /** The smallest rank of each layer that explains this share of its squared difference. */
  readonly energy?: number
  /** Singular values up to this one are cut. A layer with none left is not in the adapter. */
  readonly above?: number
  /** Default: the rank, for a scale of 1. */
  readonly alpha?: number
  readonly filters: Filters
  /** Whether to save in full the tensors that have no low-rank form; or which modules to save in full, whatever their form. */
  readonly modulesToSave: boolean | readonly LocatedPattern[]
  /** Whether to save differences of biases next to the factors. */
  readonly loraBias: boolean
  /** Modules have the names of the network in the memory of transformers 5, or those of the files. */
  readonly names: 'transformers-5' | 'stored'
  readonly method: 'auto' | 'exact' | 'randomised'
  readonly oversampling: number
  readonly iterations: number
}

/** The record of an extraction in the lineage. */
export interface ExtractRecord {
  /** By tensor name of the base. */
  readonly modules: Readonly<
    Record<
      string,
      {
        readonly method: string
        readonly rank: number
        /** Number of singular triplets found. */
        readonly found: number
        /** Of the difference. */
        readonly norm: number
        /** Share of the squared difference that the factors explain. Null if there is no difference. */
        readonly energy: number | null
      }
    >
  >
  /** Number of modules with a difference. */
  readonly changed: number
  /** Shares of the squared difference: in total, and per module. */
  readonly energy: { readonly total: number; readonly mean: number; readonly least: number }
  /** Tensors that are not in the adapter, with reasons. */
  readonly left?: Readonly<Record<string, string>>
}
