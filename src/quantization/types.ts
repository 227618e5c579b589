/**
 * Quantized weights: which stored tensors make one weight, and how. Each scheme has its own file in `schemes/`;
 * `index.ts` lists them all. A scheme decides from the configuration, names, dtypes and shapes, and refuses everything
 * that it does not know.
 */
import type { ErrorCode } from '../core/codes.js'
import type { Dtype } from '../core/dtypes.js'
import type { DecodeForm } from '../views/decodeForm.js'
import type { View } from '../views/types.js'

/** A tensor as a file of the model stores it. */
export interface StoredPart {
  readonly name: string
  readonly dtype: Dtype
  readonly shape: readonly number[]
  readonly file: number
  readonly offset: number
  readonly bytes: number
  readonly strides?: readonly number[]
}

/** A JSON object of unknown content. */
export type Settings = Readonly<Record<string, unknown>>

/** What a scheme knows of a model. */
export interface QuantizedModel {
  readonly stored: ReadonlyMap<string, StoredPart>
  /** The `quantization_config` of the configuration, or what another file says instead. */
  readonly settings: Settings
  /** The dtype of the configuration, if it names one that weights can have. */
  readonly dtype: 'F32' | 'F16' | 'BF16' | undefined
  /** The name of a file, for messages. */
  readonly fileName: (file: number) => string
  /** Reads a small tensor. */
  readonly read: (tensor: StoredPart) => Promise<Uint8Array>
}

/** Why a model's weights can't be computed with. It can still be copied. */
export class Refusal extends Error {
  constructor(
    /** `packed-weights`: terge does not know the format. `damaged-weights`: the tensors contradict it. */
    readonly code: ErrorCode & ('packed-weights' | 'damaged-weights'),
    message: string,
    readonly hint: string,
    /** The tensor that it is about. */
    readonly tensor?: string,
  ) {
    super(message)
  }
}

/** The tensors of one quantized weight. */
export interface Module {
  readonly model: QuantizedModel
  /** The common start of their names. */
  readonly stem: string
  readonly codes: StoredPart
  /** The tensor with the stem and this end; undefined if there is none. */
  readonly part: (end: string) => StoredPart | undefined
  /** The same for a tensor that exists. */
  readonly need: (end: string) => StoredPart
}

/** A weight as its scheme describes it. */
export interface Made {
  readonly shape: readonly number[]
  readonly view: View
  /** For people: `FP8, 128 × 128 blocks`. */
  readonly format: string
  /** The dtype that the library restores, if the configuration has none. */
  readonly dtype?: Dtype
}

/** One way in which a scheme stores a weight. */
export interface Layout {
  /** The end of the name of the codes, and what replaces it in the name of the weight. */
  readonly codes: string
  readonly weight: string
  /** Whether a tensor with this end can be codes. */
  readonly fits: (tensor: StoredPart, stem: string, model: QuantizedModel) => boolean
  /** Ends of the names of its other tensors. */
  readonly required: readonly string[]
  readonly optional?: readonly string[]
  readonly make: (module: Module) => Made | Promise<Made>
}

export interface Scheme {
  /** For messages. */
  readonly name: string
  /** Values of `quant_method`. */
  readonly methods: readonly string[]
  /** The layouts for this model, in the order in which they are tried. Throws a `Refusal` for settings that it does not support. */
  readonly layouts: (model: QuantizedModel) => readonly Layout[]
}

export type { DecodeForm }
