import type { Place } from '../core/diagnostics.js'
import type { Pattern } from '../core/patterns.js'
import type { LayoutRule } from '../layouts/types.js'

/** Keys and indexes from the root of the recipe to a node. */
export type Path = readonly (string | number)[]

/** A part of a string: offset of its first character, and its length. */
export interface Within {
  readonly offset: number
  readonly length: number
}

/** A number, a list spread over the layers of the base, or numbers per block. A single number is a gradient of length 1. */
export type Gradient = readonly number[] | BlockValues

/** Numbers per block of a UNet, and one for all tensors outside blocks. */
export interface BlockValues {
  readonly blocks: readonly number[]
  readonly rest: number
}

/** The value of a method's parameter in a recipe. Scalars other than numbers (true, "l1") keep their value. */
export type ParameterValue =
  | { readonly kind: 'scalar'; readonly value: boolean | string }
  | { readonly kind: 'gradient'; readonly value: Gradient }
  | { readonly kind: 'per-model'; readonly values: ReadonlyMap<string, Gradient> }
  /** A mapping with a schema of its own, such as `lines: {alpha, beta}`. */
  | { readonly kind: 'mapping'; readonly value: Readonly<Record<string, unknown>> }

/** A layout of a model: a name such as `mixtral/released` or `released`, or a rule. */
export type LayoutChoice =
  | { readonly kind: 'name'; readonly name: string; readonly at: Path }
  | { readonly kind: 'rule'; readonly rule: LayoutRule; readonly at: Path }

export interface ModelSource {
  readonly name: string
  readonly at: Path
  /** As written: the path, `hf:org/name@revision`, or `s3://bucket/prefix`. */
  readonly reference: string
  readonly origin: 'path' | 'hub' | 's3'
  /** The pattern of paths that matches it. */
  readonly pattern?: string
  readonly revision?: string
  readonly sha256?: string
  readonly subfolder?: string
  /**
   * The path of a PEFT adapter, `hf:org/name@revision` or `s3://bucket/prefix`. In a complete recipe: the name of the
   * model for that adapter.
   */
  readonly lora?: string
  readonly loraScale?: number
  /** Which tensors of the adapter apply. */
  readonly loraInclude?: readonly LocatedPattern[]
  readonly stripPrefix?: string
  /** The layouts that its tensors have, and rules for them. They apply before names change. */
  readonly layout?: readonly LayoutChoice[]
  /** The path of a configuration, for a model that has none. */
  readonly config?: string
  readonly rename: readonly { readonly from: string; readonly to: string }[]
  /** The path of a file. In a complete recipe: the name of the model for that file. */
  readonly statistics?: string
  /** The model is the statistics file or the adapter of another model, or a file that a step names. */
  readonly companion?: 'statistics' | 'lora' | 'measured'
}

/** A file of measurements that a step names. */
export interface MeasuredFile {
  /** Whose measurements it has: a model or step. */
  readonly of: string
  /** The path as written. In a complete recipe: the name of the model for that file. */
  readonly file: string
  readonly at: Path
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
  /** Unique among models and steps. Short forms get generated names. */
  readonly name: string
  readonly at: Path
}

export interface Evaluate {
  readonly command: readonly string[]
  readonly env?: readonly string[]
  /** In seconds. */
  readonly timeout?: number
  readonly at: Path
}

/** The parts of a recipe that steps can use in planning. */
export interface RecipeHead {
  /** In the order of the recipe. */
  readonly models: ReadonlyMap<string, ModelSource>
  /** In dependency order: a step comes after those it uses. Only steps that an output needs, directly or indirectly. */
  readonly steps: readonly (StepCommon & { readonly kind: string })[]
  /** `path`: as written. `from`: the name of a model or step. */
  readonly outputs: readonly { readonly path: string; readonly from: string; readonly evaluate?: Evaluate }[]
  readonly compute: 'float32' | 'float64'
  readonly seed: number
  /** How the vocabulary of the result is made, if it changes. */
  readonly tokenizer?: object | undefined
  /** The place of a node, of its key, or of a part of a string, for errors that planning finds. */
  readonly placeOf: (path: Path, part?: 'key' | 'value', within?: Within) => Place
  /** Whether it was converted from a mergekit configuration. */
  readonly converted?: true
}
