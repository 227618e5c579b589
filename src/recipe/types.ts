import type { Diagnostic, Place } from '../core/diagnostics.js'
import type { OutputDtype } from '../core/dtypes.js'
import type { Pattern } from '../core/patterns.js'
import type { SpecPlaces, SpecText } from '../rebasin/spec.js'

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

/** One method with everything that was written for it, inheritance between rule and merge already applied. */
export interface MergeSettings {
  readonly method: string
  readonly at: Path
  /** Participants in order, already with the default filled in; names of models or steps. */
  readonly models: readonly string[]
  /** Same length as `models`: 1 where nothing was written. */
  readonly weights: readonly Gradient[]
  /** Where the weights were written, for faults found in planning. */
  readonly weightsAt: Path
  /** Only what was written; defaults are the method's. */
  readonly parameters: ReadonlyMap<string, { readonly value: ParameterValue; readonly at: Path }>
}

export interface MergeRule {
  readonly match: readonly LocatedPattern[]
  readonly settings: MergeSettings
}

interface StepCommon {
  /** Unique among models and steps; short forms get generated names. */
  readonly name: string
  readonly at: Path
}

export interface MergeStep extends StepCommon {
  readonly kind: 'merge'
  /** A model or step. */
  readonly base: string
  /** The recipe wrote `base` itself; methods whose base is optional work on δ only then. */
  readonly baseWritten: boolean
  readonly filters: Filters
  readonly settings: MergeSettings
  readonly rules: readonly MergeRule[]
  readonly onMissing: 'copy' | 'keep' | 'error'
  readonly onMismatch: 'copy' | 'error' | 'crop'
  /** What it makes is rounded to this dtype before other steps use it. */
  readonly dtype?: OutputDtype
}

export interface RebasinStep extends StepCommon {
  readonly kind: 'rebasin'
  readonly method: 'weight-matching' | 'merge-many' | 'c2m3'
  /** The model that this step moves. */
  readonly model: string
  /** Of a joint alignment: all of its models, the first of which stays; each other one has a step of its own. */
  readonly joint?: { readonly name: string; readonly models: readonly string[] }
  readonly onto: string
  readonly spec:
    | 'auto'
    | { readonly family: string }
    | { readonly file: string }
    | { readonly inline: SpecText; readonly placeOf?: SpecPlaces }
  readonly symmetry: 'permutation' | 'orthogonal'
  readonly seed: number
  readonly maxIterations: number
}

export interface RepairStep extends StepCommon {
  readonly kind: 'repair'
  readonly model: string
  readonly batchNorm: 'correlation'
}

export interface InterpolateStep extends StepCommon {
  readonly kind: 'interpolate'
  readonly from: string
  readonly to: string
  /** The values of t, written or spread evenly. */
  readonly points: readonly number[]
  readonly method: 'linear' | 'slerp'
  readonly keep: boolean
  readonly evaluate?: Evaluate
}

export interface StackStep extends StepCommon {
  readonly kind: 'stack'
  /** Which of a model's stacks of layers is meant, by the prefix of its names. */
  readonly of?: { readonly prefix: string; readonly at: Path }
  readonly slices: readonly { readonly model: string; readonly layers: readonly [number, number]; readonly at: Path }[]
}

export interface ExtractStep extends StepCommon {
  readonly kind: 'extract'
  readonly from: string
  readonly base: string
  readonly rank: number
  /** The rank where nothing is written: then the reader's scale is 1. */
  readonly alpha: number
  readonly filters: Filters
  /** What no low-rank matrix can be is saved whole. */
  readonly modulesToSave: boolean
  /** Differences of biases are held beside the factors. */
  readonly loraBias: boolean
  readonly method: 'auto' | 'exact' | 'randomised'
  readonly oversampling: number
  readonly iterations: number
}

export type Step = MergeStep | RebasinStep | RepairStep | InterpolateStep | StackStep | ExtractStep

export interface Evaluate {
  readonly command: readonly string[]
  readonly env?: readonly string[]
  /** Seconds. */
  readonly timeout?: number
  readonly at: Path
}

export interface OutputSpec {
  readonly at: Path
  /** As written (or as given on the command line). */
  readonly path: string
  /** Absolute. */
  readonly resolved: string
  /** A model or step. */
  readonly from: string
  readonly dtype?: OutputDtype
  /** In bytes. */
  readonly shardSize?: number
  readonly metadata: Readonly<Record<string, string>>
  readonly evaluate?: Evaluate
}

/** Where the embedding of one token comes from. */
export interface TokenChoice {
  readonly from:
    | { readonly kind: 'zero' }
    /** The same token's, unless another one is named. */
    | { readonly kind: 'model'; readonly model: string; readonly token?: string; readonly id?: number }
  /** Also in models that have the token. */
  readonly force: boolean
  readonly at: Path
}

export interface TokenizerChoice {
  /** `base`, `union`, or a model. */
  readonly source: string
  readonly tokens: ReadonlyMap<string, TokenChoice>
  /** 1 where the vocabulary is not padded. */
  readonly padTo: number
  readonly at: Path
}

/** A recipe that was found valid as a text: names resolve, methods and parameters exist, no cycle. Short forms are steps. */
export interface Recipe {
  /** As the user named it. */
  readonly file: string
  /** The folder that its paths are relative to, absolute. */
  readonly folder: string
  readonly text: string
  /** `KEY=VALUE` as given with `--set`, in order. */
  readonly overrides: readonly string[]
  /** In order of writing. */
  readonly models: ReadonlyMap<string, ModelSource>
  /** In dependency order: a step comes after those it uses. Only steps that an output needs, directly or not. */
  readonly steps: readonly Step[]
  readonly outputs: readonly OutputSpec[]
  readonly compute: 'float32' | 'float64'
  readonly seed: number
  /** Absent where the recipe says nothing: the base's files, and embeddings as they are. */
  readonly tokenizer: TokenizerChoice | undefined
  readonly chatTemplate: string | undefined
  /** Finds the place of a node, or of its key, for faults that planning finds. */
  readonly placeOf: (path: Path, part?: 'key' | 'value') => Place
  readonly warnings: readonly Diagnostic[]
  /** It was made from a mergekit configuration. */
  readonly converted?: true
}
