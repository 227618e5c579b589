import type { Path, StepCommon } from '../../language/types.js'

/** Layers that are drawn: each from one of the models, by its weight. */
export interface Shuffle {
  readonly models: readonly string[]
  readonly weights: readonly number[]
  /** Default: that of the recipe. */
  readonly seed?: number
}

type Slice = { readonly model: string; readonly layers: readonly [number, number]; readonly at: Path }

export interface StackStep extends StepCommon {
  readonly kind: 'stack'
  /** The stack of layers to use, by the prefix of its tensor names. */
  readonly of?: { readonly prefix: string; readonly at: Path }
  /** Without layers if they are drawn: then the first model gives everything else. */
  readonly slices: readonly Slice[]
  readonly shuffle?: Shuffle
}

/** What the plan and the lineage keep of the step. */
export interface StackSaid {
  readonly models: readonly string[]
  /** Of a draw: its seed, the weight of each model, and the model of each layer. */
  readonly seed?: number
  readonly weights?: readonly number[]
  readonly layers?: readonly string[]
}
