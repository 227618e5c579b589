/**
 * What an adapter is to terge, whatever library wrote it: a list of updates of modules. A format reads files into this
 * list, a kind says how one update changes a weight, and the plan applies it as expressions.
 */
import type { ErrorCode } from '../core/codes.js'
import type { Expr, LoraExpr, ReadExpr } from '../expr/types.js'
import type { ValueTensor } from '../expr/values.js'
import type { Orientation } from '../networks/orientation.js'

/** Receives the errors and warnings about one adapter. */
export interface Reporter {
  error(code: ErrorCode, message: string, hint?: string): void
  warn(code: ErrorCode, message: string, hint?: string): void
}

/** A change of one tensor of a model. */
export interface Update {
  /** The name of its kind in the registry. */
  readonly kind: KindName
  /** The module's name in the network, for messages and for what its configuration says about it. */
  readonly module: string
  /** The tensor that it changes. */
  readonly target: Target
  /** Tensors of the adapter by role, as the kind names them. A reader can give a view of a stored tensor. */
  readonly parts: Parts
  /** Factor on the change: alpha / rank, for example. `lora_scale` multiplies it. */
  readonly scale: number
  /** Whether the weight is an embedding's, which is stored [rows, dim] and whose A is [rank, rows]. */
  readonly embedding?: boolean
  /** The rank in the configuration, if it has one. Another rank in the tensors is an error. */
  readonly rank?: number
  /** The part of the weight that the factors were at the beginning of training, which the weight loses. */
  readonly start?: 'pissa' | 'olora'
  /** DoRA: the result is scaled to these norms. */
  readonly magnitude?: Magnitude
  /** What else the kind needs: numbers and words of the configuration. */
  readonly settings?: Readonly<Record<string, number | string | boolean | readonly number[]>>
}

export type Parts = Readonly<Record<string, ValueTensor>>

/** A tensor of the model. */
export interface Target {
  /** Its name in the network, such as `model.layers.0.self_attn.q_proj.weight`. */
  readonly name: string
  /** Only these rows of it (places along the first axis) change, such as the query rows of `in_proj_weight`. */
  readonly rows?: { readonly start: number; readonly count: number }
}

/** Norms that the rows or columns of an updated weight have. */
export interface Magnitude {
  readonly tensor: ValueTensor
  /**
   * One per row or per column of the stored weight, or per input channel of a convolution. Undefined: one per output,
   * wherever outputs are stored.
   */
  readonly per?: 'rows' | 'columns' | 'channels'
  /** Added to the norm. */
  readonly epsilon: number
  /**
   * What `lora_scale` multiplies: the update before it is normalised (PEFT), or the distance of the norms' factors from 1
   * (LyCORIS).
   */
  readonly scales: 'update' | 'norms'
}

export type KindName =
  | 'lora'
  | 'loha'
  | 'lokr'
  | 'tucker'
  | 'full'
  | 'experts'
  | 'ia3'
  | 'hra'
  | 'oft'
  | 'tokens'
  | 'bias'

/** The weight that an update changes. */
export interface Weight extends Pick<ValueTensor, 'dtype' | 'shape' | 'expr'> {
  /** How a linear layer is stored, for weights whose shape does not show it. Undefined after an error. */
  readonly orientation: () => Orientation | undefined
}

/** How an update changes a weight W. */
export type Change =
  /** W + scale · `delta`. */
  | { readonly kind: 'add'; readonly delta: Delta; readonly turned?: boolean }
  /** W times `factor`, element by element. */
  | { readonly kind: 'times'; readonly factor: ReadExpr }
  /** W times reflections by the columns of `by`, which can be made orthonormal first. */
  | { readonly kind: 'reflect'; readonly by: ReadExpr; readonly rank: number; readonly orthonormal: boolean }
  /** Blocks of `size` inputs of W times rotations. `terms`: of their series; 0 without one. */
  | {
      readonly kind: 'rotate'
      readonly by: ReadExpr
      readonly size: number
      readonly vectors: number
      readonly terms: number
    }
  /** Other elements in place of W. `lora_scale` does not apply. */
  | { readonly kind: 'replace'; readonly expr: Expr }

/** ΔW: a product of two factors, two matrices of the shape of W times each other element by element, or a tensor. */
export type Delta = Product | Hadamard | ReadExpr

export type Product = { readonly kind: 'product' } & Pick<LoraExpr, 'rank' | 'left' | 'right' | 'matrices'>

export interface Hadamard {
  readonly kind: 'hadamard'
  readonly of: readonly [Product | ReadExpr, Product | ReadExpr]
}

/** An error about an update: a message that begins after the module's name. */
export interface Misfit {
  readonly kind: 'misfit'
  readonly code: ErrorCode
  readonly message: string
  readonly hint: string
  /** Whether the message is complete without the module's name. */
  readonly whole: boolean
}

/** A kind of update. */
export interface Kind {
  readonly name: KindName
  /** As in messages: `LoRA`. */
  readonly title: string
  /** The roles of its parts that must be there together. A role with `?` can be absent. */
  readonly parts: readonly string[]
  /** The change of a weight; undefined if an error was reported. `turned`: the weight is stored as [inputs, outputs]. */
  readonly change: (update: Update, weight: Weight) => Change | Misfit | undefined
  /**
   * What the update adds to a weight, without the weight: for merges of adapters with each other. Undefined if its tensors do not fit
   * each other. Absent if only the weight shows it.
   */
  readonly alone?: (update: Update) => Alone | undefined
}

/** ΔW of a weight, without its scale. */
export interface Alone {
  readonly rows: number
  /** The shape of A without the rank: the inputs, and the kernel of a convolution if the adapter shows it. */
  readonly inputs: readonly number[]
  /** Whether a convolution would look the same, with the kernel as inputs. */
  readonly flat?: boolean
  /**
   * Factors of which it is exactly the product: A [rank, …inputs] and B [rows, rank]. Absent if they have a higher rank than a matrix of
   * these sides.
   */
  readonly factors?: LowFactors
  /** ΔW as one tensor [rows, …inputs]. */
  readonly whole: () => Expr
}

export interface LowFactors {
  readonly a: ValueTensor
  readonly b: ValueTensor
  readonly rank: number
}

/** What the configuration of an adapter says about the network, beside its updates. */
export interface Traits {
  /**
   * Weights are stored as [inputs, outputs]. PEFT decides this per layer class, but writes only the value of the last
   * layer.
   */
  readonly fanInFanOut: boolean
  /** All weights are stored as [outputs, inputs], and reading checked that. */
  readonly straight?: boolean
  /** Whether the head was tied to this embedding module in training (`ensure_weight_tying`); undefined if unknown. */
  readonly tiesHead: (embedding: string) => boolean | undefined
  /** Whether a module was trained whole, as a copy (`modules_to_save`). */
  readonly isSaved: (module: string) => boolean
  /** PEFT's task type, such as `CAUSAL_LM`. */
  readonly task: string | undefined
}

/** An adapter, read from its files. */
export interface AdapterContent extends Traits {
  readonly updates: readonly Update[]
  /** By name in the network: tensors that replace the model's. */
  readonly replaced: ReadonlyMap<string, ValueTensor>
  /** Names of replaced tensors that are base weights of an updated module (`base_layer`), not trained copies. */
  readonly beneath: ReadonlySet<string>
  /** Stored names of tensors that no update uses. If there are some, that is an error. */
  readonly unused?: readonly string[]
}

/** What a reader gets to know about the model that the adapter is applied to. */
export interface Network {
  /** The model's name of a tensor with this name in the network. A prefix more or less is allowed. */
  readonly find: (name: string) => string | undefined
  /** Whether the network has a tensor of this name, perhaps in another layout than the model's. */
  readonly has: (name: string) => boolean
  readonly tensors: ReadonlyMap<string, ValueTensor>
  /** The tensors by name in each layout that the model can be read in: its own first. */
  readonly layouts: () => Iterable<ReadonlyMap<string, Pick<ValueTensor, 'shape'>>>
  readonly config: Readonly<Record<string, unknown>> | undefined
}

/** An adapter's files. */
export interface AdapterFiles {
  /** By stored name. */
  readonly tensors: ReadonlyMap<string, ValueTensor>
  /** `adapter_config.json`. */
  readonly config: Readonly<Record<string, unknown>> | undefined
  /** What the header of the file says. */
  readonly metadata?: Readonly<Record<string, string>>
  /** The value of a tensor with one element (`….alpha`). Undefined for other tensors. */
  readonly numberOf?: (tensor: ValueTensor) => number | undefined
}

/** A format of adapter files. */
export interface AdapterFormat {
  readonly name: string
  /** Whether files have this format. The first format in the registry that says yes reads them. */
  readonly detect: (files: AdapterFiles) => boolean
  /** Reads the files. `network`: absent if adapters are merged with each other. Undefined after an error. */
  readonly read: (files: AdapterFiles, network: Network | undefined, reporter: Reporter) => AdapterContent | undefined
  /** Whether a tensor with this name belongs to an update. */
  readonly isUpdate: (stored: string) => boolean
  /** The network's name for a tensor that was saved whole. */
  readonly nameOf: (stored: string) => string
}
