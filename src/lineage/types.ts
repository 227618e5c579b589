import type { Dtype } from '../core/dtypes.js'
import type { Json } from '../core/json/shape.js'
import type { CopyReason } from '../core/reasons.js'
import type { PlanTensor, TokenizerRecord } from '../plan/types.js'
import type { StepRecord } from '../steps/index.js'

/** `algorithm:hex`; null where a run was told to leave digests out. */
export type Digest = string

export interface LineageFile {
  /** Relative to the checkpoint's folder, `/` between parts. */
  readonly name: string
  /** In bytes. */
  readonly size: number
  readonly digest: Digest | null
  /** Of the whole file, where the run was asked for it: what the hub publishes. */
  readonly sha256?: Digest
}

export interface LineageModel {
  /** Position among the recipe's models, from 0: JSON objects keep no order that a reader may rely on. */
  readonly index: number
  /** As written. */
  readonly reference: string
  readonly revision?: string
  /** Those that the run read: weights, and of an adapter its configuration. */
  readonly files: readonly LineageFile[]
}

/** How a tensor came about: `copy`, or a method and what it was given. */
export interface LineageMerge {
  readonly method: string
  readonly parameters: Readonly<Record<string, Json>>
  readonly sources: readonly LineageSource[]
  /** The origin of the task vectors; it has no weight of its own. */
  readonly base?: LineageSource
  /** Only so many rows were merged, since these models have more or fewer than the base; the others are the base's. */
  readonly cropped?: { readonly rows: number; readonly models: readonly string[] }
}

export interface LineageSource {
  /** A model's or step's name in the recipe. */
  readonly model: string
  readonly tensor: string
  /** As it really was, after normalising; null where the method has none. */
  readonly weight: number | null
  /** Of a step: how the tensor came about in it. Without it the tensor was read from a file of `model`. */
  readonly of?: LineageMerge
  /** What the method was given to know of this source. */
  readonly statistics?: LineageSource
}

/** A tensor that a step made, where the parts of an output's tensor are listed one after the other. */
export interface LineagePart extends LineageMerge {
  /** The step. */
  readonly model: string
  readonly tensor: string
}

export interface LineageTensor extends LineageMerge {
  readonly dtype: Dtype
  readonly shape: readonly number[]
  readonly digest: Digest | null
  /**
   * Where many steps are fused, or one is used by several: what steps made on the way, each once and after what it is made of.
   * Sources that are steps' have no `of` then.
   */
  readonly parts?: readonly LineagePart[]
  /** Of a copied tensor. */
  readonly reason?: CopyReason
  /** Participants that were left out of this tensor. */
  readonly absent?: PlanTensor['absent']
  /** How many of its elements are NaN or infinite though the inputs' there are finite. */
  readonly non_finite?: number
  /** What was done where a method's rule says nothing of this tensor. */
  readonly notes?: readonly string[]
}

/** What became of the vocabulary, where the recipe says something of it: as if it were a step. */
export interface TokenizerStep extends TokenizerRecord {
  readonly kind: 'tokenizer'
}

export type LineageStep = StepRecord | TokenizerStep

/** The report of one output. Same recipe and inputs: same bytes. */
export interface Lineage {
  readonly terge: string
  /** Version of the format. 1 where it was read from a file of that version: all else is as in version 2 then. */
  readonly lineage: 1 | 2
  readonly recipe: { readonly text: string; readonly digest: Digest; readonly set: readonly string[] }
  readonly plan: { readonly digest: Digest }
  readonly seed: number
  readonly models: Readonly<Record<string, LineageModel>>
  readonly steps: Readonly<Record<string, LineageStep>>
  readonly tensors: Readonly<Record<string, LineageTensor>>
  readonly output: {
    readonly from: string
    /** Of an interpolation. */
    readonly point?: { readonly name: string; readonly t: number }
    /** It was evaluated and not kept: `files` are what it consisted of. */
    readonly dropped?: true
    readonly files: readonly LineageFile[]
    readonly tensors: number
    readonly digest: Digest | null
  }
  /** What the recipe's `evaluate` commands printed; outside `output.digest`. */
  readonly evaluations?: Readonly<Record<string, number>>
}
