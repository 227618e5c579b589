import type { ErrorCode } from '../core/codes.js'
import type { HeldWork } from '../kernels/held/types.js'
import type { MapKernel, ReduceKernel, ScalarMath } from '../kernels/types.js'

/** One parameter of a method. The recipe schema, `terge methods` and the README's table are generated from this. */
export interface ParameterSchema {
  readonly name: string
  readonly type: 'number' | 'integer' | 'boolean' | 'choice' | 'formula'
  /** Absent: the parameter is required. */
  readonly default?: number | boolean | string
  readonly minimum?: number
  readonly maximum?: number
  /** The values of a `choice`. `number` and `boolean` may list additional words (rescale: false, inverse, l1). */
  readonly choices?: readonly (string | boolean)[]
  /** Whether the value may be a mapping from models to numbers or gradients. */
  readonly perModel?: boolean
  readonly describe: string
}

/** A parameter's value for one tensor, with gradients and defaults applied: one value, or one per merged model. */
export type Resolved = number | boolean | string | readonly number[]

/** Everything that a method may know about one tensor. */
export interface TensorSettings {
  /** The tensor's name in the output. Random numbers depend on it. */
  readonly tensor: string
  readonly shape: readonly number[]
  /** The names of the merged models in the recipe, in order. */
  readonly models: readonly string[]
  readonly weights: readonly number[]
  readonly parameters: Readonly<Record<string, Resolved>>
  readonly seed: number
  /** Whether the models are compared with a base. */
  readonly onBase: boolean
  /** Whether every merged model has statistics for this tensor. */
  readonly statistics?: boolean
  /** Whether an input is stored as F64: squares of its elements may overflow float64. */
  readonly wide?: boolean
}

/**
 * Additional input of a pass: results of earlier passes, and transcendental functions that round in the same way on
 * every JavaScript engine.
 */
export interface PassInput extends TensorSettings {
  /** By reduce pass: its combined sums or counts. Empty if the pass was skipped. */
  readonly results: readonly Float64Array[]
  /** By scope pass: its numbers, combined over all tensors of the scope. Empty if the pass was skipped. */
  readonly scope: readonly Float64Array[]
  readonly math: ScalarMath
  /** Records that the method is undefined for this tensor, and what was done instead. Equal texts count once. */
  readonly note?: (text: string) => void
}

/** Reads every tile once and reduces it to numbers. */
export interface ReducePass {
  readonly kernel: ReduceKernel
  /** Numbers per tile; per row if `combine` is `rows`. */
  readonly slots: number
  /**
   * sums: float64, added over the tiles in index order (`maxima`: the last so many slots are maxima instead).
   * tiles: float64, kept per tile. counts: u32, added in any order. rows: float64, kept per row.
   */
  readonly combine: 'sums' | 'tiles' | 'counts' | 'rows'
  readonly maxima?: number
  /** Turns the combined numbers into this pass's results. By default they are the results. */
  readonly conclude?: (combined: Float64Array, input: PassInput) => Float64Array
  readonly coefficients?: (input: PassInput) => readonly number[]
  /** Whether the pass can be skipped. */
  readonly skip?: (input: PassInput) => boolean
  /** The kernel gets whole rows, one at a time, and which part of them lies in the tile. */
  readonly rows?: boolean
  /** Reads only this tile. */
  readonly tile?: (input: PassInput) => number
  readonly table?: (input: PassInput) => Table
}

/**
 * Numbers that are too many for coefficients: per row (the kernel gets those from the chunk's first row on), or for the
 * whole tensor.
 */
export interface Table {
  readonly per: 'row' | 'tensor'
  readonly slots: number
  readonly values: Float64Array
}

/** Computes the output from the inputs. */
export interface MapPass {
  readonly kernel: MapKernel
  /**
   * The coefficients of the kernel. `linear` and `task` take one per input, and skip an input with exactly 0, so that 0
   * · inf does not give NaN.
   */
  readonly coefficients: (input: PassInput) => readonly number[]
  /** The kernel gets whole rows (along the last axis) instead of any chunk. */
  readonly rows?: boolean
  readonly table?: (input: PassInput) => Table
  /** Bytes of scratch space that the kernel needs. */
  readonly scratch?: number
}

/** How a method computes a tensor: reduce passes in order, then the map. */
export interface Passes {
  /** The kernels get the first input as base, and not as an input. */
  readonly origin?: 'first'
  /**
   * Passes over all tensors that the step merges by this method with the same models and the same key. They run before
   * the first of these tensors is made. Sums are added in the order of tensors, and the settings are those of the first
   * tensor.
   */
  readonly scope?: { readonly key: string; readonly reduces: readonly ReducePass[] }
  readonly reduces: readonly ReducePass[]
  /**
   * Holds the tensor's matrices whole. The map then has no models as inputs: its first input is the base, if there is
   * one, and its last is the result of this work. There are no reduce passes.
   */
  readonly held?: Omit<HeldWork, 'compute'>
  readonly map: MapPass
}

/** How a method merges the changes ΔW_i of a weight by several adapters. */
export type OnAdapters =
  /** Σ c_i ΔW_i, with coefficients that are known before any tensor is read. */
  | {
      readonly kind: 'sum'
      readonly coefficients: (settings: Pick<TensorSettings, 'weights' | 'parameters'>) => readonly number[]
    }
  /** Merges the cores as it merges tensors. `elements`: by single elements or rows, so that the basis matters. */
  | { readonly kind: 'core'; readonly elements: boolean }
  | { readonly kind: 'refused'; readonly why: string }

/** A merge method: its names, its parameters, and how it computes a tensor. */
export interface Method {
  /** As in recipes. */
  readonly name: string
  /** Other names that recipes can use. */
  readonly aliases: readonly string[]
  /** One line, for `terge methods`. */
  readonly summary: string
  /** The formula, with the symbols of docs/methods.md. */
  readonly formula: string
  /** arXiv number. */
  readonly paper?: string
  /** What a user should know before choosing it, in a sentence. */
  readonly note?: string
  /**
   * `none`: terge only copies tensors from a base. `required`: the method works on task vectors; the base is not merged
   * by default.
   * `optional`: on task vectors if the recipe names a base that is not merged.
   * `listed`: the base must be one of the merged models.
   */
  readonly base: 'none' | 'required' | 'optional' | 'listed'
  /** Whether recipes can give weights. */
  readonly weights: boolean
  /** Whether the method divides by the sum of weights with these parameters, so that a sum of 0 is an error. */
  readonly divides: (parameters: Readonly<Record<string, Resolved>>) => boolean
  /**
   * How many merged models a recipe may name, and how many a tensor needs, without the base of a task-vector method.
   */
  readonly models: { readonly least: number; readonly most?: number; readonly needed: number | 'all' }
  /** In the order of the documentation. */
  readonly parameters: readonly ParameterSchema[]
  /** The effective weights, after normalization, for the lineage. Null if the method has none. */
  readonly effective: (
    settings: Pick<TensorSettings, 'weights' | 'parameters'> & Partial<Pick<PassInput, 'scope'>>,
  ) => readonly (number | null)[]
  /**
   * Every merged model needs a statistics file. The statistics are inputs after the models. `true`: with the model's
   * names and shapes.
   * `gram`: with a matrix [columns, columns] under the name of a matrix. The method works without it if a file has
   * none.
   */
  readonly statistics?: true | 'gram'
  /** The method uses random numbers, which depend on the seed, the model's name and the tensor's name. */
  readonly random?: true
  /**
   * The result of an element depends on its index: by random masks, or because the first of equal magnitudes counts.
   */
  readonly byPlace?: true
  /** The methods that its parameter `inner` chooses from. It takes their parameters too. */
  readonly around?: readonly Method[]
  /**
   * A merge of the same models that comes first: its result is the first input of the passes, before the models.
   */
  readonly inner?: (parameters: Readonly<Record<string, Resolved>>) => Inner
  /** How it merges low-rank changes of adapters. Default: by the elements of their cores. */
  readonly adapters?: OnAdapters
  /**
   * Checks that involve several parameters. Undefined if there is no error. `written`: the parameters in the recipe.
   */
  readonly refuse?: (
    settings: Pick<TensorSettings, 'parameters' | 'weights' | 'models'>,
    written: ReadonlySet<string>,
  ) => Refusal | undefined
  /** Recipes give it parameters of their own, and its formula says what it is. */
  readonly open?: OpenMethod
  /** How the method computes a tensor. For the program itself: the types of passes are not part of the public API. */
  readonly passes: (settings: TensorSettings) => Passes
}

/** A merge that comes before that of its method, and what is left of the parameters for the latter. */
export interface Inner {
  readonly method: string
  readonly parameters: Readonly<Record<string, Resolved>>
  readonly own: Readonly<Record<string, Resolved>>
}

/** Why a merge can't have these parameters. */
export interface Refusal {
  readonly parameter: string
  /** Default: `bad-parameter`. */
  readonly code?: ErrorCode
  readonly message: string
  readonly hint: string
  /** The part of the parameter's text. Default: all of it. */
  readonly within?: { readonly offset: number; readonly length: number }
}

/** What a recipe writes for an open method: its formula, and parameters of the recipe's own. */
export interface Written {
  /** Undefined if the recipe has none, or one that is not a string. */
  readonly text: string | undefined
  /** By name: whether there is a value for each merged model. */
  readonly own: ReadonlyMap<string, { readonly perModel: boolean }>
}

/** An error in a formula, at offsets in it. */
export interface WrittenFault {
  readonly code: ErrorCode
  readonly message: string
  readonly hint?: string
  readonly at: { readonly start: number; readonly end: number }
}

/** A method that is made of what a recipe writes. */
export interface OpenMethod {
  /** The method with this formula: its base, its weights, its parameters. */
  readonly with: (written: Written) => Method
  /** Why a parameter can't have this name. Undefined if it can. */
  readonly refusesName: (name: string) => string | undefined
  /** Errors in the formula. `models`: the number of merged models, if it is known. */
  readonly faults: (written: Written, models: number | undefined) => readonly WrittenFault[]
  readonly uses: (written: Written) => {
    /** The layer of the tensor. */
    readonly layer: boolean
    /** The first place that needs a base. */
    readonly baseAt?: WrittenFault['at']
    /** The recipe's own parameters. */
    readonly names: ReadonlySet<string>
  }
}
