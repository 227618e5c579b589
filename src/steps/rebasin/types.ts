import type { AnalysisModel } from '../../expr/types.js'
import type { StepCommon } from '../../language/types.js'
import type { SpecPlaces, SpecText } from '../../rebasin/spec.js'
import type { AnalysisCommon } from '../analysis.js'

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

/** The search for the permutations that bring one model closest to another. */
export interface RebasinAnalysis extends AnalysisCommon {
  readonly kind: 'rebasin'
  /** By model that moves: the step that stands for it. */
  readonly steps: readonly string[]
  readonly method: 'weight-matching' | 'merge-many' | 'c2m3'
  readonly symmetry: 'permutation' | 'orthogonal'
  readonly seed: number
  readonly maxIterations: number
  /** Of the spec: `llama`, `resnet`, … or `written`. */
  readonly family: string
  readonly spec: SpecText
  readonly onto: AnalysisModel
  readonly models: readonly AnalysisModel[]
}

/** What became of one group of units. */
export interface GroupRecord {
  /** Units; of a group inside another, in each unit of that one. */
  readonly size: number
  readonly inside?: string
  /** Units that did not stay in their place. */
  readonly moved: number
  /** SHA-256 of the permutation's numbers, 32 bits each, little-endian. */
  readonly permutation: string
}

interface BeforeAndAfter {
  readonly before: number
  readonly after: number
}

/** What the lineage keeps of an alignment of one model. */
export interface RebasinRecord extends Pick<RebasinAnalysis, 'method' | 'symmetry' | 'family' | 'seed'> {
  readonly model: string
  readonly onto: string
  readonly iterations: number
  /** Cosines of the two models, over the tensors that are matched. */
  readonly similarity: BeforeAndAfter
  /** Of permutations: the sum that the matching climbs. */
  readonly score?: BeforeAndAfter
  /** Of permutations: units of all groups that did not stay in their place. */
  readonly moved?: number
  readonly groups?: Readonly<Record<string, GroupRecord>>
  /** What stays as it is, and why. */
  readonly kept?: Readonly<Record<string, string>>
  /** Of an orthogonal alignment: the rotation of the residual stream. */
  readonly rotation?: { readonly size: number; readonly digest: string }
}
