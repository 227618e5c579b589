/**
 * Layouts: the forms in which one network's weights are stored. A family describes a network by its smallest parts
 * ("atoms": one expert's gate, the query of one layer) and each form by rules that say which stored tensor is which
 * atoms, concatenated, stacked or transposed. A rule is read in both directions, so each form converts to every other.
 */
import type { LogicalTensor } from '../checkpoints/types.js'

/**
 * A name with captures: `{layer}` stands for digits, `{prefix}` for nothing or for text that ends with a dot, `{wb}` for
 * `weight` or `bias`, `{rest}` for any text. A capture has the same value everywhere in a rule.
 */
export type NamePattern = string

/** A JSON object of unknown content. */
export type Settings = Readonly<Record<string, unknown>>

/** What rules may depend on. */
export interface Facts {
  /** `config.json`, the `config` of a pipeline's module, or that of the model that it is merged with. */
  readonly config: Settings | undefined
  /** The model's tensors by name. */
  readonly shapes: ReadonlyMap<string, { readonly shape: readonly number[] }>
}

/** A number that depends on the model. A string is the setting that its configuration lacks: `num_attention_heads`. */
export type Count = number | ((facts: Facts) => number | string)
/** `tensor`: the one that is missing. */
export type Counts = readonly number[] | ((facts: Facts) => readonly number[] | string | { readonly tensor: string })

/** How a stored tensor is made of atoms. */
export type Form =
  /** An atom. */
  | NamePattern
  /**
   * Along an axis (negative: counted from the last) there are `groups` groups (default 1), and in each the parts' slices
   * follow one another. `sizes`: the length of each part's slice in one group; default: equal. `in turn`: as many groups
   * as each part has places, so that the parts' places take turns.
   */
  | {
      readonly concat: readonly Form[]
      readonly axis: number
      readonly groups?: Count | 'in turn'
      readonly sizes?: Counts
    }
  /** A new first axis, with one place per number of the capture `over`. */
  | { readonly stack: Form; readonly over: string }
  /** The last two axes are swapped. */
  | { readonly transpose: Form }
  /** `ones` more axes of size 1 at the end: [C, D] and [C, D, 1, 1]. */
  | { readonly expand: Form; readonly ones: number }
  /** The two halves along an axis change places. */
  | { readonly swapHalves: Form; readonly axis: number }

export interface LayoutRule {
  /** The stored tensor. */
  readonly tensor: NamePattern
  readonly is: Form
}

/** A form that only some kinds of checkpoints have. */
export type FormStorage =
  /** One file. */
  | { readonly kind: 'file' }
  /**
   * One module of a pipeline in a folder. `config`: the configuration of the published model, or why it is not known.
   * `said`: what shapes say of it.
   */
  | {
      readonly kind: 'module'
      /** Its name in a pipeline: `unet`. */
      readonly module: string
      readonly config?: (shapes: Facts['shapes']) => Settings | string
      readonly said: SaidByShapes
    }
  /** A folder with a folder per module. */
  | { readonly kind: 'modules'; readonly modules: readonly string[]; readonly said: SaidByShapes }

/** The settings that the shapes of a module say. `prefix`: of its tensors. */
export type SaidByShapes = (module: string, shapes: Facts['shapes'], prefix: string) => Settings

export interface FamilyForm {
  /** `released`, `transformers-5`, `fused`, `parts`, `original`, `diffusers`. */
  readonly name: string
  /** What it looks like, for people: `one tensor per expert`. */
  readonly says: string
  /** Tensors that no rule matches are atoms under their own names. */
  readonly rules: readonly LayoutRule[]
  /** Whether the shapes are this form's, where its names are also those of another form. Undefined: shapes do not tell. */
  readonly fits?: (facts: Facts) => boolean | undefined
  /** Tensors that only this form has a place for. */
  readonly only?: readonly NamePattern[]
  /** Where an output in this form is stored. Default: like the model. */
  readonly storage?: FormStorage
  /** The configuration of a model in this form, if it differs. A string: why it can't be written. */
  readonly config?: (config: Settings) => Settings | string
}

export interface Family {
  /** `mixtral`. A layout's name is `mixtral/released`. */
  readonly name: string
  /** `Mixtral, MiniMax`. */
  readonly title: string
  /** The `model_type`s that say that a model is of this family. Other models are only if the recipe says so. */
  readonly types: readonly string[]
  /** Names and shapes alone are enough to know the family. */
  readonly byNames?: true
  /** Whether these tensors are of this family, where names of other families are the same. */
  readonly isOne?: (facts: Facts) => boolean
  readonly forms: readonly FamilyForm[]
}

/** The tensors of a model by name. */
export type Tensors = ReadonlyMap<string, LogicalTensor>

/** Why tensors can't be read in another form. */
export interface LayoutProblem {
  readonly tensor: string
  readonly message: string
  /** What would help, where it is not another model: a configuration, or the statement that layers have several forms. */
  readonly needs?: 'config' | 'mixed'
}

export interface Converted {
  readonly tensors: Tensors
  /** Tensors that the other form has no place for. They are not among `tensors`. */
  readonly left: readonly string[]
  /** By new name: the names of the stored tensors. Only tensors that changed. */
  readonly from: ReadonlyMap<string, readonly string[]>
  readonly problems: readonly LayoutProblem[]
}
