/**
 * The interface of a kind of step: `StepKind`, one object per folder here. The rest of the program uses these objects
 * through `kindOf` in the registry, and does not know which kinds exist.
 */
import type { AdapterContent } from '../adapters/types.js'
import type { Diagnostic } from '../core/diagnostics.js'
import type { Read } from '../core/json/shape.js'
import type { ScopeBook } from '../expr/scopes.js'
import type { PatternCount, PlanFactoring } from '../expr/types.js'
import type { Value, ValueTensor } from '../expr/values.js'
import type { Cursor } from '../language/cursor.js'
import type { Faults } from '../language/faults.js'
import type { Scope } from '../language/names.js'
import type { Report } from '../language/report.js'
import type { Schema } from '../language/schemaParts.js'
import type {
  Evaluate,
  Filters,
  LocatedPattern,
  MeasuredFile,
  ModelSource,
  Path,
  RecipeHead,
  StepCommon,
} from '../language/types.js'
import type { Config } from '../networks/layerCounts.js'
import type { Tokenizers } from '../tokenizers/opened.js'
import type { AnalysisCommon, AnalysisKind, Lines } from './analysis.js'
import type { Factored } from './shared/factored.js'

export type { Factored }

/** A step of any kind. */
export interface AnyStep extends StepCommon {
  readonly kind: string
}

/**
 * `S`: the step as in the recipe. `A`: its analysis, for kinds that need whole models before any tensor is written.
 * `F`: findings of the analysis or of the tensors, for the lineage. `Said`: the record of the step in the lineage.
 * `Made`: other steps that a block in the recipe can expand to.
 */
export interface StepKind<
  S extends AnyStep,
  A extends AnalysisCommon = never,
  F extends object = never,
  Said extends object = UsesRecord,
  Made extends AnyStep = S,
> {
  /** The key in a recipe. */
  readonly kind: S['kind']
  /** No key of a recipe makes such a step: another part of the recipe does. */
  readonly inner?: true
  /** The schema of the key's value. */
  readonly schema: Schema
  /** Definitions that the schema refers to. */
  readonly definitions?: Readonly<Record<string, Schema>>
  /** Definitions that `read` checks itself, with better messages than a schema allows. */
  readonly checkedByReader?: readonly string[]
  /** How it can be a top-level key of a recipe, without `steps`. */
  readonly short?: ShortForm
  /** How one block of a recipe can expand to several steps. */
  readonly parts?: Parts
  /** Reads a step from the recipe. Calls `reading.use` or `reading.uses` for each model and step that it uses. */
  readonly read: (draft: StepDraft, reading: Reading) => Made | undefined
  /** The step with the content of the files that it refers to. */
  readonly readFiles?: (step: S, locate: Locate, read: ReadFile, report: Report) => S
  /** Files that it read in addition to models, relative to the recipe. */
  readonly readsFiles?: (step: S) => readonly string[]
  /** The names of the models and steps that it uses. */
  readonly uses: (step: S) => readonly string[]
  /** The model or step that gives the result its names, configuration and tokenizer. */
  readonly like: (step: S) => string
  /** The result has other tensors than `like`. A merge of such results has the first of them as its default base. */
  readonly renews?: true
  /** The other models are read with the tensor names of `like`, and completed with their tied tensors. */
  readonly sharesNames?: true
  /** A model whose vocabulary the result gets. It is read with its own tensor names and its tokenizer. */
  readonly donor?: (step: S) => string
  /** The model or step whose tokenizer cuts texts into tokens while the step is planned. */
  readonly cuts?: (step: S) => string | undefined
  /** The lineage treats the result as the first model that the step uses. */
  readonly keepsShares?: true
  /** If other steps can't use the result as a model: what it is, and what to do instead. */
  readonly notModel?: { readonly what: string; readonly hint: string }
  /** The number of checkpoints that it makes, if not one. */
  readonly count?: (step: S) => number
  /** The files of measurements that the step names itself. */
  readonly measured?: {
    readonly of: (step: S) => readonly MeasuredFile[]
    /** The step with the same files under other names. */
    readonly named: (step: S, files: readonly MeasuredFile[]) => S
  }
  /** Names of the recipe's models that are files which it needs in addition to the models that it uses. */
  readonly files?: (step: S, models: ReadonlyMap<string, ModelSource>) => readonly string[]
  /** Its patterns, and the base whose tensor names they match. */
  readonly patterns?: (step: S) => StepPatterns
  /** Its own command, which runs on the results. */
  readonly evaluate?: (step: S) => Evaluate | undefined
  /** How to check its result with a command. */
  readonly check?: (step: S) => Check | undefined
  /** It can work on adapters alone. */
  readonly takesAdapters?: true
  readonly plan: (step: S, context: PlanContext) => PlannedStep<Said>
  readonly analysis?: AnalysisKind<A, F>
  /** The findings of its factorings. `left`: tensors that are not in the result, with reasons. */
  readonly factored?: (step: string, factored: readonly Factored[], left: Readonly<Record<string, string>>) => F
  /** The record of the step in the lineage, where planning gives none. Default: the models that it uses. */
  readonly says?: (step: S) => Said
  /** Reads the record of such a step from a lineage, without kind and patterns. Default: the models that it uses. */
  readonly readRecord?: Read<RecordOf<F, Said>>
  /** The files in its record that `verify` checks, relative to the recipe. */
  readonly recordedFiles?: (record: RecordOf<F, Said>) => readonly { readonly file: string; readonly sha256: string }[]
  /** What the text of a plan shows for the step in addition to its patterns. */
  readonly planLines?: (
    step: { readonly name: string; readonly says?: Said },
    plan: { readonly factorings: readonly PlanFactoring[] },
    left: PlannedStep['left'],
  ) => readonly Lines[]
  /** The result of the step in one line, after a run. */
  readonly line?: (name: string, record: RecordOf<F, Said>) => string | undefined
  /** What the step left as it was, with reasons, after a run. */
  readonly notes?: (record: RecordOf<F, Said>) => readonly string[]
  /** For the model card: a sentence about the result, as a list of Markdown lines, and tags of the hub. `plain`: escapes a name. */
  readonly card?: (
    record: RecordOf<F, Said>,
    plain: (name: string) => string,
  ) => { readonly lines: readonly string[]; readonly tags: readonly string[] }
  /** For adapters, a sentence for the model card: the base model, and how the adapter was made. */
  readonly adapter?: {
    readonly base: (record: RecordOf<F, Said>) => string
    readonly sentence: (record: RecordOf<F, Said>, plain: (name: string) => string) => string
  }
}

export interface UsesRecord {
  /** The models and steps that the step uses, without duplicates. */
  readonly models: readonly string[]
}

/** The record of a step with its findings. */
export type RecordOf<F, Said> = [F] extends [never] ? Said : Said & F

/** How a kind can be a top-level key of a recipe. */
export interface ShortForm {
  /** Top-level blocks are executed in this order. */
  readonly order: number
  /** Whether a list of blocks is allowed. Each block is named after the model that it replaces. */
  readonly list?: { readonly describe: string; readonly replaces: (at: Cursor) => string | undefined }
  /** Other top-level keys that belong to it. */
  readonly beside?: readonly string[]
}

/** A block that expands to several steps. */
export interface Parts {
  /** The word for such a block in messages. */
  readonly noun: string
  /**
   * The parts of a block. Undefined for a block that is one step. In the long form, the name of the block refers to
   * all of them.
   */
  readonly of: (name: string, at: Cursor) => readonly Part[] | undefined
}

export interface Part {
  readonly name: string
  /** From 1. 0 is the block itself. */
  readonly place: number
  /** The place in the recipe. */
  readonly at: Path
  /** The model that it replaces in the short form. */
  readonly model: string
}

/** A step whose name is known, before it is read. */
export interface StepDraft {
  readonly name: string
  readonly kind: string
  readonly at: Cursor
  /** For a block with several steps: the name of the block, and the index of this part. 0 is the block itself. */
  readonly part?: { readonly of: string; readonly place: number }
}

/** What reading a step needs. */
export interface Reading {
  readonly root: Cursor
  readonly scope: Scope
  /** The model or step that is named there; empty if there is none. Records that the step uses it. */
  readonly use: (at: Cursor | undefined) => string
  /** Records that the step uses a model or step, and the place in the recipe. */
  readonly uses: (name: string, at: Cursor) => void
  /** The step before it in the short form. */
  readonly before: StepDraft | undefined
}

/** The absolute path from which a file is read that the recipe refers to by this path. */
export type Locate = (written: string) => string

/** Reads a small file as a whole, or returns the reason why it can't. `name`: the file in messages. */
export type ReadFile = (file: string, name: string) => { readonly text: string } | { readonly fault: Diagnostic }

export interface StepPatterns {
  readonly base: string
  readonly filters: Filters
  readonly rules: readonly { readonly match: readonly LocatedPattern[] }[]
}

/** A command that must print the same metrics for the result of a step as for the model that it changed. */
export interface Check {
  readonly evaluate: Evaluate
  /** The model or step before the change. */
  readonly model: string
  /** The largest difference of a metric, as a share of its value. */
  readonly tolerance: number
}

/** The metrics that a check compared. */
export interface CheckRecord {
  readonly tolerance: number
  readonly before: Readonly<Record<string, number>>
  readonly after: Readonly<Record<string, number>>
}

/** An adapter that is one of the recipe's models, without a model that it is applied to. */
export interface ReadAdapter {
  readonly content: AdapterContent
  /** The name of its format. */
  readonly format: string
  /** Its `adapter_config.json`. */
  readonly config: Config | undefined
  /** The digest of norms of DoRA, or of a copy of a weight of the base. Undefined for other tensors, and for large copies. */
  readonly normsOf: (tensor: ValueTensor) => string | undefined
}

/** What planning a step needs. */
export interface PlanContext {
  readonly recipe: RecipeHead
  /** By model or step, as this step reads them. */
  readonly values: ReadonlyMap<string, Value>
  /** The configuration of a model. */
  readonly configOf: (model: string) => Config | undefined
  /** Parts of the plan so far. A step adds what it needs. */
  readonly scopes: ScopeBook
  readonly factorings: PlanFactoring[]
  /** The rank of a factoring that an earlier look at the tensors found; undefined if there was none. */
  readonly rankOf: (step: string, tensor: string) => number | undefined
  /** The recipe's models that are adapters and that a step uses. */
  readonly adapters: ReadonlyMap<string, ReadAdapter>
  readonly analyses: AnalysisCommon[]
  /** Of models whose vocabulary a step needs, or whose tokenizer cuts its texts. */
  readonly tokenizers: Tokenizers
  /** The model whose tokenizer a model has: an adapter that added tokens can have one. */
  readonly tokenizerOf: (model: string) => string
  /** The name of the head if it is computed in another way than the embedding, so that it is no longer tied. */
  readonly ownHead: (tensors: Value['tensors']) => string | undefined
  readonly faults: Faults
}

/** The result of a step. Neither a value nor a path: the step has errors. */
export interface PlannedStep<Said extends object = never> {
  readonly value?: Value | undefined
  /** The record of the step in the plan and the lineage. */
  readonly says?: Said
  readonly way?: Way
  readonly patterns?: readonly PatternCount[]
  /** Tensors that are not in the result, with reasons. */
  readonly left?: Readonly<Record<string, string>>
}

/** Checkpoints on the path from one model to another, in the folder of the output. */
export interface Way {
  readonly step: string
  readonly at: Path
  readonly points: readonly Point[]
  /** False: evaluate them and do not keep them. */
  readonly keep: boolean
  readonly evaluate?: Evaluate
}

export interface Point {
  /** Path in the folder of the output. */
  readonly name: string
  readonly t: number
  readonly value: Value
}
