import type { MapKernel, ReduceKernel, ScalarMath } from '../kernels/types.js'

/** One parameter of a method: recipe schema, `terge methods` and README's table are made from this. */
export interface ParameterSchema {
  readonly name: string
  readonly type: 'number' | 'integer' | 'boolean' | 'choice'
  /** Absent: the parameter is required. */
  readonly default?: number | boolean | string
  readonly minimum?: number
  readonly maximum?: number
  /** For `choice`; `number` and `boolean` may list further words (rescale: false, inverse, l1). */
  readonly choices?: readonly (string | boolean)[]
  /** May be a mapping model → number or gradient. */
  readonly perModel?: boolean
  readonly describe: string
}

/** A parameter's value for one tensor, gradients and defaults applied: one value, or one a participating model. */
export type Resolved = number | boolean | string | readonly number[]

/** All that a method may know of one tensor. Plain data: the plan holds it and digests it. */
export interface TensorSettings {
  readonly shape: readonly number[]
  readonly weights: readonly number[]
  readonly parameters: Readonly<Record<string, Resolved>>
}

/** What a pass may use besides: the sums of the passes before it and transcendental functions that no engine rounds its own way. */
export interface PassInput extends TensorSettings {
  /** By reduce pass, its sums over the whole tensor. */
  readonly sums: readonly Float64Array[]
  readonly math: ScalarMath
}

/** Reads every tile once; its float64 sums a tile are added up over the tiles in index order. */
export interface ReducePass {
  readonly kernel: ReduceKernel
}

/** Makes the output from the inputs; an input whose coefficient is exactly 0 is left out (0 · inf is no NaN here). */
export interface MapPass {
  readonly kernel: MapKernel
  /** One a participating model, in order; further ones as the kernel asks. */
  readonly coefficients: (input: PassInput) => readonly number[]
}

export interface Method {
  readonly name: string
  readonly aliases: readonly string[]
  /** One line, for `terge methods`. */
  readonly summary: string
  /** The rule, in the symbols of docs/methods.md. */
  readonly formula: string
  /** arXiv number. */
  readonly paper?: string
  /**
   * `none`: a base only lends copied tensors. `required`: works on task vectors; the base is no default participant.
   * `optional`: on task vectors where the recipe writes a base that is not among the participants.
   * `listed`: the base must be one of the participants.
   */
  readonly base: 'none' | 'required' | 'optional' | 'listed'
  readonly weights: boolean
  /** A sum of weights of 0 has no meaning. A function: only where these parameters divide by it. */
  readonly divides: (parameters: Readonly<Record<string, Resolved>>) => boolean
  /** Participants (the base of a task-vector method apart): how many a recipe may name, how many a tensor needs. */
  readonly models: { readonly least: number; readonly most?: number; readonly needed: number | 'all' }
  readonly parameters: readonly ParameterSchema[]
  /** Weights as they really are, for the lineage: after normalising. Null where the method has none. */
  readonly effective: (settings: TensorSettings) => readonly (number | null)[]
  readonly reduces: readonly ReducePass[]
  readonly map: MapPass
}
