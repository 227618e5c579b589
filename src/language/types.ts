import type { Place } from '../core/diagnostics.js'
import type { Pattern } from '../core/patterns.js'

/** Keys and indexes from the root of the recipe's YAML to a node. */
export type Path = readonly (string | number)[]

/** A number, or a list spread over the layers of the base; a single number is a gradient of length 1. */
export type Gradient = readonly number[]

/** What a recipe may write for a method's parameter. Scalars that are not numbers (true, "l1") stand for themselves. */
export type ParameterValue =
  | { readonly kind: 'scalar'; readonly value: boolean | string }
  | { readonly kind: 'gradient'; readonly value: Gradient }
  | { readonly kind: 'per-model'; readonly values: ReadonlyMap<string, Gradient> }
  /** A mapping the method's schema asks for, such as `lines: {alpha, beta}`. */
  | { readonly kind: 'mapping'; readonly value: Readonly<Record<string, unknown>> }

export interface ModelSource {
  readonly name: string
  readonly at: Path
  /** As written: the path, or `hf:org/name@revision`. */
  readonly reference: string
  readonly origin: 'path' | 'hub'
  readonly revision?: string
  readonly sha256?: string
  readonly subfolder?: string
  /** A PEFT adapter's path or `hf:org/name@revision`; of a whole recipe the name of the model that stands for it. */
  readonly lora?: string
  readonly loraScale?: number
  readonly stripPrefix?: string
  readonly rename: readonly { readonly from: string; readonly to: string }[]
  /** A text's path; of a whole recipe the name of the model that stands for it. */
  readonly statistics?: string
  /** It stands for what belongs to another model. */
  readonly companion?: 'statistics' | 'lora'
}

export interface Filters {
  readonly include: readonly LocatedPattern[]
  readonly exclude: readonly LocatedPattern[]
}

export interface LocatedPattern {
  readonly pattern: Pattern
  readonly at: Path
}

export interface StepCommon {
  /** Unique among models and steps; short forms get generated names. */
  readonly name: string
  readonly at: Path
}

export interface Evaluate {
  readonly command: readonly string[]
  readonly env?: readonly string[]
  /** Seconds. */
  readonly timeout?: number
  readonly at: Path
}

/** What of a recipe its steps may look at while they are planned. */
export interface RecipeHead {
  /** In order of writing. */
  readonly models: ReadonlyMap<string, ModelSource>
  /** In dependency order: a step comes after those it uses. Only steps that an output needs, directly or not. */
  readonly steps: readonly (StepCommon & { readonly kind: string })[]
  /** `path`: as written. `from`: a model or step. */
  readonly outputs: readonly { readonly path: string; readonly from: string }[]
  readonly compute: 'float32' | 'float64'
  readonly seed: number
  /** Finds the place of a node, or of its key, for faults that planning finds. */
  readonly placeOf: (path: Path, part?: 'key' | 'value') => Place
  /** It was made from a mergekit configuration. */
  readonly converted?: true
}
