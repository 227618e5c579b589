import type { Dtype } from '../core/dtypes.js'
import type { CopyReason, PlanTensor } from '../plan/types.js'

/** `algorithm:hex`; null where a run was told to leave digests out. */
export type Digest = string

export interface LineageFile {
  readonly name: string
  /** In bytes. */
  readonly size: number
  readonly digest: Digest | null
  /** Of the whole file, where the run was asked for it: what the hub publishes. */
  readonly sha256?: Digest
}

export interface LineageSource {
  /** A model's or step's name in the recipe. */
  readonly model: string
  readonly tensor: string
  /** As it really was, after normalising; null where the method has none. */
  readonly weight: number | null
}

export interface LineageTensor {
  readonly method: string
  readonly parameters: Readonly<Record<string, unknown>>
  readonly sources: readonly LineageSource[]
  readonly base?: string
  readonly dtype: Dtype
  readonly shape: readonly number[]
  readonly digest: Digest | null
  /** Of a copied tensor. */
  readonly reason?: CopyReason
  /** Participants that were left out of this tensor. */
  readonly absent?: PlanTensor['absent']
}

/** The report of one output. Same recipe and inputs: same bytes. */
export interface Lineage {
  readonly terge: string
  readonly lineage: 1
  readonly recipe: { readonly text: string; readonly digest: Digest; readonly set: readonly string[] }
  readonly plan: { readonly digest: Digest }
  readonly seed: number
  readonly models: Readonly<
    Record<string, { readonly reference: string; readonly revision?: string; readonly files: readonly LineageFile[] }>
  >
  readonly steps: Readonly<Record<string, Readonly<Record<string, unknown>>>>
  readonly tensors: Readonly<Record<string, LineageTensor>>
  readonly output: {
    readonly from: string
    readonly files: readonly LineageFile[]
    readonly tensors: number
    readonly digest: Digest | null
  }
}
