import type { HeldWork } from '../kernels/held/types.js'
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

/** All that a method may know of one tensor. */
export interface TensorSettings {
  /** The tensor's name in the output: random numbers are drawn for it. */
  readonly tensor: string
  readonly shape: readonly number[]
  /** Participants' names in the recipe, in order. */
  readonly models: readonly string[]
  readonly weights: readonly number[]
  readonly parameters: Readonly<Record<string, Resolved>>
  readonly seed: number
  /** There is a base that the participants are compared with. */
  readonly onBase: boolean
  /** There are statistics of this tensor, of every participant. */
  readonly statistics?: boolean
  /** An input is stored as F64: squares of its elements may be beyond float64. */
  readonly wide?: boolean
}

/** What a pass may use besides: the results of the passes before it and transcendental functions that no engine rounds its own way. */
export interface PassInput extends TensorSettings {
  /** By reduce pass: its combined sums or counts. Empty for one that was skipped. */
  readonly results: readonly Float64Array[]
  /** By scope pass: its numbers, combined over all tensors of the scope. Empty for one that was skipped. */
  readonly scope: readonly Float64Array[]
  readonly math: ScalarMath
  /** Takes down that the rule says nothing of this tensor, and what was done instead. The same words twice count once. */
  readonly note?: (text: string) => void
}

/** Reads every tile once and boils it down to numbers. */
export interface ReducePass {
  readonly kernel: ReduceKernel
  /** Numbers a tile; a row where `combine` is rows. */
  readonly slots: number
  /**
   * sums: float64, added up over the tiles in index order (`maxima`: the last so many slots are largest values instead).
   * tiles: float64, kept tile by tile. counts: u32, added up in any order. rows: float64 for each row, kept row by row.
   */
  readonly combine: 'sums' | 'tiles' | 'counts' | 'rows'
  readonly maxima?: number
  /** What is kept of the combined numbers as this pass's results; all of them unless told. */
  readonly conclude?: (combined: Float64Array, input: PassInput) => Float64Array
  readonly coefficients?: (input: PassInput) => readonly number[]
  /** The pass is not needed after all. */
  readonly skip?: (input: PassInput) => boolean
  /** The kernel is given whole rows, one at a time, and which part of them lies in the tile. */
  readonly rows?: boolean
  /** Only this tile is read. */
  readonly tile?: (input: PassInput) => number
  readonly table?: (input: PassInput) => Table
}

/** More numbers than coefficients can be: for each row (only those from the chunk's first row on are handed on), or for the whole tensor. */
export interface Table {
  readonly per: 'row' | 'tensor'
  readonly slots: number
  readonly values: Float64Array
}

/** Makes the output from the inputs. */
export interface MapPass {
  readonly kernel: MapKernel
  /** As the kernel takes them. Of `linear` and `task` one an input; an input with exactly 0 is left out (0 · inf is no NaN here). */
  readonly coefficients: (input: PassInput) => readonly number[]
  /** The kernel is given whole rows (along the last axis), not any chunk. */
  readonly rows?: boolean
  readonly table?: (input: PassInput) => Table
  /** Bytes of scratch space that the kernel needs. */
  readonly scratch?: number
}

/** How a method computes a tensor: reduce passes in order, then the map. */
export interface Passes {
  /** The first input is what the kernels get as base; it is no input of theirs then. */
  readonly origin?: 'first'
  /**
   * Passes over all tensors that the step merges by this method with the same models and the same key, before the first
   * of them is made. Sums are added up in the order of tensors; settings are those of the first one.
   */
  readonly scope?: { readonly key: string; readonly reduces: readonly ReducePass[] }
  readonly reduces: readonly ReducePass[]
  /**
   * The tensor's matrices are held whole, and what comes of them is the last input of the map: its first is the base,
   * where there is one, and the models themselves are none. No reduce passes then.
   */
  readonly held?: Omit<HeldWork, 'compute'>
  readonly map: MapPass
}

/** A merge method: what it is called, what it takes, and how it computes a tensor. */
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
  readonly effective: (
    settings: Pick<TensorSettings, 'weights' | 'parameters'> & Partial<Pick<PassInput, 'scope'>>,
  ) => readonly (number | null)[]
  /**
   * Every participant needs a file of statistics: further inputs, after the models'. `true`: with the model's names and shapes.
   * `gram`: with a matrix [columns, columns] under the name of a matrix; the method does without where a file has none.
   */
  readonly statistics?: true | 'gram'
  /** Random numbers are drawn: for the seed, the models' names and the tensor's name. */
  readonly random?: true
  /** An element's place decides on it: masks are drawn for it, or of equal magnitudes the first ones count. */
  readonly byPlace?: true
  /** What no single parameter's schema can say: undefined where all is well. `written`: parameters that the recipe names. */
  readonly refuse?: (settings: Pick<TensorSettings, 'parameters'>, written: ReadonlySet<string>) => Refusal | undefined
  readonly passes: (settings: TensorSettings) => Passes
}

export interface Refusal {
  readonly parameter: string
  readonly message: string
  readonly hint: string
}
