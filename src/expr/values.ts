import type { Dtype } from '../core/dtypes.js'
import type { AbsentReason, CopyReason } from '../core/reasons.js'
import type { Path } from '../language/types.js'
import type { Expr } from './types.js'

/** A tensor of a model or of a step's result: what it would be, and how it would come about. */
export interface ValueTensor {
  /** The dtype it has unless the output says otherwise: the base's. */
  readonly dtype: Dtype
  readonly shape: readonly number[]
  readonly expr: Expr
  readonly reason?: CopyReason
  readonly rule?: number
  readonly absent?: readonly { readonly model: string; readonly reason: AbsentReason }[]
}

/** A layer by the model whose configuration describes it. */
export interface StackedLayer {
  readonly model: string
  readonly layer: number
  /** Names and shapes of its tensors, as a text. */
  readonly holds: string
}

/** What became of a model's layers. */
export interface Restacked {
  /** The step, for errors. */
  readonly at: Path
  readonly order: readonly StackedLayer[]
  /** Those of the model whose configuration goes with the result, in their own order. */
  readonly own: readonly StackedLayer[]
  /** Layers behind the last one that the configuration does not count. */
  readonly behind: number
}

/** What a name of the recipe stands for while planning. */
export interface Value {
  readonly name: string
  /** In the order of names. */
  readonly tensors: ReadonlyMap<string, ValueTensor>
  /** The model whose config and tokenizer go with it. */
  readonly origin: string
  /** Of a stack, and of what is made of it: by the prefix of its layers' names, where they come from. */
  readonly layers?: ReadonlyMap<string, Restacked>
  /** Of an adapter, which is no model: its configuration. */
  readonly adapter?: Readonly<Record<string, unknown>>
  /** Of a model whose configuration says that its weights are packed: by what. */
  readonly quantization?: string
}

export const sameShape = (a: readonly number[], b: readonly number[]): boolean =>
  a.length === b.length && a.every((size, axis) => size === b[axis])

/** What was made of a model, or of a stack: its layers are the same. */
export const stackedLike = ({ layers }: Value): Pick<Value, 'layers'> => (layers ? { layers } : {})
