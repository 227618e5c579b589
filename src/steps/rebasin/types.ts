import type { AnalysisModel } from '../../expr/types.js'
import type { StepCommon } from '../../language/types.js'
import type { SpecPlaces, SpecText } from '../../rebasin/spec.js'

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

export interface RebasinAnalysis {
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
