import type { QuantizationRefusal } from '../checkpoints/types.js'
import type { Dtype } from '../core/dtypes.js'
import type { AbsentReason, CopyReason } from '../core/reasons.js'
import type { Path } from '../language/types.js'
import type { ResultVocabulary } from '../tokenizers/types.js'
import type { Expr } from './types.js'

/** A tensor of a model or of a step's result: its form, and the expression that makes it. */
export interface ValueTensor {
  /** The dtype unless the output changes it: the dtype of the base. */
  readonly dtype: Dtype
  readonly shape: readonly number[]
  readonly expr: Expr
  readonly reason?: CopyReason
  readonly rule?: number
  readonly absent?: readonly { readonly model: string; readonly reason: AbsentReason }[]
}

/** A layer, and the model whose configuration describes it. */
export interface StackedLayer {
  readonly model: string
  readonly layer: number
  /** Names and shapes of its tensors as a string. */
  readonly holds: string
}

/** The layers of a model after a stack. */
export interface Restacked {
  /** The name of the step, for errors. */
  readonly at: Path
  readonly order: readonly StackedLayer[]
  /** The layers of the model whose configuration the result has, in their original order. */
  readonly own: readonly StackedLayer[]
  /** Layers after the last one that the configuration does not count. */
  readonly behind: number
}

/** A module of an adapter, and its two factors. */
export interface AdapterModule {
  readonly module: string
  /** `other`: an embedding or a stack of experts, which not every format can hold. */
  readonly kind: 'layer' | 'other'
  /** The names of the factors. */
  readonly a: string
  readonly b: string
  readonly rank: number
  readonly scale: number
}

/** What a name of the recipe refers to in planning. */
export interface Value {
  readonly name: string
  /** In the order of names. */
  readonly tensors: ReadonlyMap<string, ValueTensor>
  /** The model that gives the configuration and the tokenizer. */
  readonly origin: string
  /** For a stack and its results: where layers come from, by the prefix of their names. */
  readonly layers?: ReadonlyMap<string, Restacked>
  /** For an adapter, which is not a model: its configuration. */
  readonly adapter?: Readonly<Record<string, unknown>>
  /** For an adapter with another vocabulary than its base: the model that has its tokenizer. */
  readonly vocabularyOf?: string
  /** For adapters in a format that names modules in its own way: the output has that format too. */
  readonly adapterFormat?: 'kohya'
  /** For an adapter of low-rank updates: its modules. */
  readonly modules?: readonly AdapterModule[]
  /** For a zip and its results: what config.json says of sizes that changed. */
  readonly sizes?: Readonly<Record<string, number>>
  /** For a model with another model's vocabulary: that vocabulary, and its token ids. */
  readonly vocabulary?: ResultVocabulary
  /** For a mixture of experts and its results: what config.json says of a network of another kind. `undefined` removes a key. */
  readonly network?: Readonly<Record<string, unknown>>
  /** The quantization method in the model's configuration, if any. */
  readonly quantization?: string
  /** Why its quantized weights can't be computed with. */
  readonly refusal?: QuantizationRefusal
}

/** For results of a model, a stack, a zip or a mixture with the same layers. */
export const stackedLike = ({ layers, sizes, network }: Value): Pick<Value, 'layers' | 'sizes' | 'network'> => ({
  ...(layers ? { layers } : {}),
  ...(sizes ? { sizes } : {}),
  ...(network ? { network } : {}),
})

/** A configuration as steps have changed it: see `Value.network`. A list for layers, all alike, has one entry for each. */
export function withNetwork(config: NonNullable<Value['network']>, network: Value['network'] = {}) {
  const { num_hidden_layers: layers } = config
  const { layer_types: types } = network
  const fitted =
    Array.isArray(types) && typeof layers === 'number' && types.length !== layers
      ? { layer_types: Array.from({ length: layers }, () => types[0]) }
      : {}
  return Object.fromEntries(
    Object.entries({ ...config, ...network, ...fitted }).filter(([, value]) => value !== undefined),
  )
}
