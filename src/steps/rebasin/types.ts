import type { AnalysisModel } from '../../expr/types.js'
import type { Evaluate, MeasuredFile, StepCommon } from '../../language/types.js'
import type { SpecPlaces, SpecText } from '../../rebasin/spec.js'
import type { StoredPermutations } from '../../rebasin/stored.js'
import type { AnalysisCommon } from '../analysis.js'
import type { CheckRecord, UsesRecord } from '../types.js'

/** What planning needs from the configurations of the models. */
export type Configs = (model: string) => Readonly<Record<string, unknown>> | undefined

/** `activation-matching` and `mixed` use activations of both models, `merge-many` and `c2m3` align several models jointly. */
export type AlignmentMethod = 'weight-matching' | 'activation-matching' | 'mixed' | 'merge-many' | 'c2m3'

export interface RebasinStep extends StepCommon {
  readonly kind: 'rebasin'
  readonly method: AlignmentMethod
  /** The model that this step aligns. */
  readonly model: string
  /** For a joint alignment: all of its models. The first one does not change, each other model has its own step. */
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
  /** How many seeds to try. Absent: one. */
  readonly restarts?: number
  /** The metric that decides between seeds. Absent: the score. */
  readonly select?: { readonly metric: string; readonly maximize: boolean }
  /** Activations of `onto` and `model`. */
  readonly statistics?: readonly MeasuredFile[]
  readonly check?: { readonly evaluate: Evaluate; readonly tolerance: number }
  /** Permutations to apply. `onto` is then the model itself, and nothing is matched. */
  readonly given?: GivenPermutations
}

/** A file of permutations in a recipe. */
export interface GivenFile {
  /** Relative to the recipe. */
  readonly file: string
  readonly inverse: boolean
  /** The step whose permutations to take, if the file has several. */
  readonly step?: string
}

/** The same, after it was read. */
export interface GivenRead extends GivenFile {
  /** `sha256:…` of the file. */
  readonly sha256: string
}

export interface GivenPermutations {
  /** Applied in this order. */
  readonly files: readonly GivenFile[]
  /** Templates of tensor names, with `{tensor}` where a name of the permutations stands. */
  readonly names: readonly string[]
  /** All files as one, once they were read. */
  readonly content?: GivenContent
}

export interface GivenContent extends StoredPermutations {
  readonly files: readonly GivenRead[]
}

/** Finds the permutations that bring one model closest to another. */
export interface RebasinAnalysis extends AnalysisCommon {
  readonly kind: 'rebasin'
  /** By model that moves: the name of its step. */
  readonly steps: readonly string[]
  /** `given`: the permutations are known, and nothing is matched. */
  readonly method: AlignmentMethod | 'given'
  readonly symmetry: 'permutation' | 'orthogonal'
  readonly seed: number
  readonly maxIterations: number
  /** The family of the spec: `llama`, `resnet`, … or `written`. */
  readonly family: string
  readonly spec: SpecText
  readonly onto: AnalysisModel
  readonly models: readonly AnalysisModel[]
  readonly restarts?: number
  /** Activations on the same inputs, for methods that use them. */
  readonly activations?: { readonly onto: AnalysisModel; readonly model: AnalysisModel }
  /** For given permutations. */
  readonly given?: {
    /** The tensors that the spec permutes. */
    readonly shapes: readonly { readonly name: string; readonly shape: readonly number[] }[]
    /** By group: 32-bit little-endian integers in base64. */
    readonly permutations: Readonly<Record<string, string>>
    /** The names that the files have for the models: what they permute, and what it was aligned to. */
    readonly ends: { readonly model: string; readonly onto: string }
  }
}

/** The result for one group of units. */
export interface GroupRecord {
  /** Number of units. For a group inside another one: per unit of the outer group. */
  readonly size: number
  readonly inside?: string
  /** Number of units with a new position. */
  readonly moved: number
  /** SHA-256 of the permutation as 32-bit little-endian integers. */
  readonly permutation: string
  /**
   * Cosine similarities of the two models over the tensors with units of this group. Absent if a model has only zeros there, or a
   * number that is not finite. Lineages of earlier versions lack it, as they lack `order`.
   */
  readonly similarity?: BeforeAndAfter
  /**
   * For groups with up to 512 units: unit i of the result is unit order[i] of the model. In a group inside another one, units are
   * counted over all outer units.
   */
  readonly order?: readonly number[]
}

export interface RestartsRecord {
  /** The seed that was chosen. */
  readonly seed: number
  /** The metric that decided, or `score`. */
  readonly by: string
  /** `value`: the metric of the model that was made with this seed. */
  readonly candidates: readonly { readonly seed: number; readonly score: number; readonly value?: number }[]
}

export interface BeforeAndAfter {
  readonly before: number
  readonly after: number
}

/** The record of the alignment of one model in the lineage. */
export interface RebasinRecord extends Pick<RebasinAnalysis, 'method' | 'symmetry' | 'family' | 'seed'> {
  readonly model: string
  /** Absent for given permutations, as are iterations and similarity. */
  readonly onto?: string
  readonly iterations?: number
  /** Cosine similarities of the two models over the matched tensors. */
  readonly similarity?: BeforeAndAfter
  /** If several seeds were tried. */
  readonly restarts?: RestartsRecord
  /** With activations: mean correlations of matched units. */
  readonly correlation?: BeforeAndAfter
  /** For permutations: the sum that matching maximises. */
  readonly score?: BeforeAndAfter
  /** For permutations: units of all groups with a new position. */
  readonly moved?: number
  readonly groups?: Readonly<Record<string, GroupRecord>>
  /** Groups that stay unchanged, with reasons. */
  readonly kept?: Readonly<Record<string, string>>
  /**
   * For an orthogonal alignment: the rotation of the residual stream. `permuted`: it is only another order. Absent if the stream
   * stays as it is.
   */
  readonly rotation?: { readonly size: number; readonly digest: string; readonly permuted?: boolean }
}

/** What the recipe says of a step with given permutations. */
export interface GivenRecord extends UsesRecord {
  /** What the step's `check` compared. */
  readonly check?: CheckRecord
  readonly permutations?: {
    readonly files: readonly GivenRead[]
    readonly names: readonly string[]
    /** The names that the files have for the models: what was permuted, and what it was aligned to. */
    readonly model: string
    readonly onto: string
  }
}
