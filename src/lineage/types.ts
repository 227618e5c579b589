import type { Dtype } from '../core/dtypes.js'
import type { Json } from '../core/json/shape.js'
import type { CopyReason } from '../core/reasons.js'
import type { Quantizer } from '../methods/quantize.js'
import type { PlanTensor, TokenizerRecord } from '../plan/types.js'
import type { StepRecord } from '../steps/index.js'

/** `algorithm:hex`; null if the run skipped digests. */
export type Digest = string

/** `computed`: terge hashed the bytes. `published`: the hub publishes it, and terge did not hash the file. */
export type SumSource = 'computed' | 'published'

export interface LineageFile {
  /** Relative to the checkpoint's folder, `/` between parts. */
  readonly name: string
  /** In bytes. */
  readonly size: number
  readonly digest: Digest | null
  /** SHA-256 of the whole file, as `sha256sum` prints it and the hub publishes it. Absent if the run did not compute it. */
  readonly sha256?: Digest
  /** Of an input: how its SHA-256 is known. Absent in older lineages, which have computed ones. */
  readonly sha256_from?: SumSource
  /** Of an object in a store, without quotation marks. */
  readonly etag?: string
}

export interface GivenConfig {
  readonly file: string
  readonly sha256: Digest
}

/** The terms of a model, as its card, its file or its license file says. terge does not check who wrote them. */
export interface License {
  /** As the hub writes it: `apache-2.0`, `llama3.1`, `other`. */
  readonly id?: string
  /** The name and the address of a license that the hub has no word for. */
  readonly name?: string
  readonly link?: string
  /** The license file in the model's folder. */
  readonly file?: { readonly name: string; readonly sha256: Digest }
}

/** What lay beside an input when the run read it. */
export interface InputRecords {
  readonly license?: License
  /** `sha256:…` of the lineage file that lay beside it. */
  readonly lineage?: Digest
}

export interface LineageModel extends InputRecords {
  /** Position in the recipe, from 0: readers cannot rely on the order of JSON objects. */
  readonly index: number
  /** As written. */
  readonly reference: string
  readonly revision?: string
  /** The formats of its quantized weights: each once, sorted. */
  readonly quantized?: readonly string[]
  /** The files that the recipe's `config` of this model means: their names as written, and their SHA-256. */
  readonly config?: readonly GivenConfig[]
  /** The layouts that its tensors certainly have: `mixtral/released`. */
  readonly layouts?: readonly string[]
  /** The layouts that they were read as, if these differ. */
  readonly readAs?: readonly string[]
  /** The files that decide its weights: those with tensors, and an adapter's configuration. */
  readonly files: readonly LineageFile[]
  /** The small files that were read or copied: configuration, index, tokenizer, licence. Their digests are of their bytes. */
  readonly beside?: readonly LineageFile[]
}

/** How a tensor was made: `copy`, or a method with its inputs. */
export interface LineageMerge {
  readonly method: string
  readonly parameters: Readonly<Record<string, Json>>
  readonly sources: readonly LineageSource[]
  /** The base model of the task vectors. It has no weight. */
  readonly base?: LineageSource
  /** Only the first `rows` rows were merged, because these models have other numbers of rows. The others are from the base. */
  readonly cropped?: { readonly rows: number; readonly models: readonly string[] }
}

export interface LineageSource {
  /** A model's or step's name in the recipe. */
  readonly model: string
  readonly tensor: string
  /** The effective weight, after normalization; null if the method has no weights. */
  readonly weight: number | null
  /** How it is quantized, if it was read from a file and is: `FP8, 128 × 128 blocks`. */
  readonly format?: string
  /** If the source is a step: how the step made the tensor. Without it, the tensor was read from a file of `model`. */
  readonly of?: LineageMerge
  /** The statistics of this source. */
  readonly statistics?: LineageSource
}

/** A tensor that a step made, in the list of an output's tensor. */
export interface LineagePart extends LineageMerge {
  /** The step. */
  readonly model: string
  readonly tensor: string
}

export interface LineageTensor extends LineageMerge {
  readonly dtype: Dtype
  readonly shape: readonly number[]
  readonly digest: Digest | null
  /** How it was quantized. Its scales are a tensor of their own. */
  readonly quantized?: Quantizer
  /**
   * Present if many steps are fused, or several use one step: the tensors that steps made on the way, each once and after its sources.
   * Sources that are steps then have no `of`.
   */
  readonly parts?: readonly LineagePart[]
  /** Why a tensor was copied. */
  readonly reason?: CopyReason
  /** Models that were skipped for this tensor. */
  readonly absent?: PlanTensor['absent']
  /** How many elements are NaN or infinite although their inputs are finite. */
  readonly non_finite?: number
  /** What was done where the method's formula is not defined for this tensor. */
  readonly notes?: readonly string[]
}

/** The merged vocabulary, recorded like a step, if the recipe has a tokenizer. */
export interface TokenizerStep extends TokenizerRecord {
  readonly kind: 'tokenizer'
}

export type LineageStep = StepRecord | TokenizerStep

/** The lineage of one output. The same recipe and inputs give the same bytes. */
export interface Lineage {
  readonly terge: string
  /** Version of the format. 1 if it was read from such a file; everything else is then as in version 2. */
  readonly lineage: 1 | 2
  readonly recipe: { readonly text: string; readonly digest: Digest; readonly set: readonly string[] }
  readonly plan: { readonly digest: Digest }
  readonly seed: number
  readonly models: Readonly<Record<string, LineageModel>>
  readonly steps: Readonly<Record<string, LineageStep>>
  readonly tensors: Readonly<Record<string, LineageTensor>>
  readonly output: {
    readonly from: string
    /** The position on the path of an interpolation. */
    readonly point?: { readonly name: string; readonly t: number }
    /** True if the checkpoint was evaluated and not kept. `files` then lists the files that it had. */
    readonly dropped?: true
    /** The models that this output was made from, if the run had others too. */
    readonly models?: readonly string[]
    readonly files: readonly LineageFile[]
    readonly tensors: number
    readonly digest: Digest | null
    /** The file with the permutations of its models: next to it, so next to the folder of a checkpoint that is a folder. */
    readonly permutations?: { readonly name: string; readonly size: number; readonly sha256: Digest }
  }
  /** The figures that the recipe's `evaluate` commands printed. Not part of `output.digest`. */
  readonly evaluations?: Readonly<Record<string, number>>
}
