/**
 * What a kind of step is: `StepKind`, one object for each folder here. The rest of the program asks these objects, through
 * `kindOf` in the registry, and does not know which kinds there are.
 */
import type { Diagnostic } from '../core/diagnostics.js'
import type { Read } from '../core/json/shape.js'
import type { ScopeBook } from '../expr/scopes.js'
import type { PatternCount, PlanFactoring } from '../expr/types.js'
import type { Value } from '../expr/values.js'
import type { Cursor } from '../language/cursor.js'
import type { Faults } from '../language/faults.js'
import type { Scope } from '../language/names.js'
import type { Report } from '../language/report.js'
import type { Schema } from '../language/schemaParts.js'
import type { Evaluate, Filters, LocatedPattern, ModelSource, Path, RecipeHead, StepCommon } from '../language/types.js'
import type { Config } from '../networks/layerCounts.js'
import type { AnalysisCommon, AnalysisKind, Lines } from './analysis.js'

/** A step of any kind. */
export interface AnyStep extends StepCommon {
  readonly kind: string
}

/**
 * `S`: the step as a recipe says it. `A`: its analysis, of kinds that look at whole models before any tensor is written. `F`: what an
 * analysis or the tensors' making found, for the lineage. `Said`: what the lineage keeps of the step itself. `Made`: where a block of the
 * recipe can stand for other steps than `S`, these too.
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
  /** Of what stands under that key. */
  readonly schema: Schema
  /** Definitions that the schema refers to. */
  readonly definitions?: Readonly<Record<string, Schema>>
  /** Definitions that `read` checks with better words than a schema can. */
  readonly checkedByReader?: readonly string[]
  /** How it may stand at the root of a recipe, without `steps`. */
  readonly short?: ShortForm
  /** Where one block of a recipe can stand for several steps. */
  readonly parts?: Parts
  /** A step from the recipe's text. What it uses is told by `reading.use` or `reading.uses`. */
  readonly read: (draft: StepDraft, reading: Reading) => Made | undefined
  /** The step with what stands in files that it names. */
  readonly readFiles?: (step: S, folder: string, read: ReadFile, report: Report) => S
  /** Models and steps that it works on. */
  readonly uses: (step: S) => readonly string[]
  /** The model or step whose names, configuration and tokenizer its result has. */
  readonly like: (step: S) => string
  /** The others that it uses are read under the names of `like`, and completed by what they tie. */
  readonly sharesNames?: true
  /** The lineage counts its result as the first model that it uses. */
  readonly keepsShares?: true
  /** Where the result is no model that a step can work on: what it is, and what to do instead. */
  readonly notModel?: { readonly what: string; readonly hint: string }
  /** How many checkpoints it makes, where that is not one. */
  readonly count?: (step: S) => number
  /** Names of the recipe's models that are files which it needs beside the models that it uses. */
  readonly files?: (step: S, models: ReadonlyMap<string, ModelSource>) => readonly string[]
  /** Its patterns, and the base whose names they are for. */
  readonly patterns?: (step: S) => StepPatterns
  /** A command of its own, run on what it makes. */
  readonly evaluate?: (step: S) => Evaluate | undefined
  readonly plan: (step: S, context: PlanContext) => PlannedStep
  readonly analysis?: AnalysisKind<A, F>
  /** What the lineage keeps of the step itself. Default: the models that it uses. */
  readonly says?: (step: S) => Said
  /** Reads what a lineage keeps of such a step, besides its kind and its patterns. Default: the models that it uses. */
  readonly readRecord?: Read<RecordOf<F, Said>>
  /** What a plan's text shows below the step besides its patterns. */
  readonly planLines?: (
    step: { readonly name: string },
    plan: { readonly factorings: readonly PlanFactoring[] },
    left: PlannedStep['left'],
  ) => readonly Lines[]
  /** What the step did, in one line, when a run has ended. */
  readonly line?: (name: string, record: RecordOf<F, Said>) => string
  /** Where its result is an adapter, what the model card says: the model that it is for, and how it came about. */
  readonly adapter?: {
    readonly base: (record: RecordOf<F, Said>) => string
    readonly sentence: (record: RecordOf<F, Said>, plain: (name: string) => string) => string
  }
}

export interface UsesRecord {
  /** Models and steps that the step uses, each once. */
  readonly models: readonly string[]
}

/** What is said of a step, and what was found. */
export type RecordOf<F, Said> = [F] extends [never] ? Said : Said & F

/** How a kind may stand at the root of a recipe. */
export interface ShortForm {
  /** Blocks of the root are done in this order. */
  readonly order: number
  /** There may be a list of blocks; each is named after the model that it replaces. */
  readonly list?: { readonly describe: string; readonly replaces: (at: Cursor) => string | undefined }
  /** Keys of the root that belong to it. */
  readonly beside?: readonly string[]
}

/** Of a block that stands for several steps. */
export interface Parts {
  /** What such a block is called. */
  readonly noun: string
  /** Undefined for a block that is one step. In the long form the whole has its name too. */
  readonly of: (name: string, at: Cursor) => readonly Part[] | undefined
}

export interface Part {
  readonly name: string
  /** From 1; 0 is the whole. */
  readonly place: number
  /** Where the recipe has it. */
  readonly at: Path
  /** The model that it replaces in the short form. */
  readonly model: string
}

/** A step whose name is known, before it is read. */
export interface StepDraft {
  readonly name: string
  readonly kind: string
  readonly at: Cursor
  /** Of a block that stands for several steps: its own name, and which of them this is; 0 for the whole. */
  readonly part?: { readonly of: string; readonly place: number }
}

/** What reading a step needs. */
export interface Reading {
  readonly root: Cursor
  readonly scope: Scope
  /** The model or step that is named there; empty where there is none. Notes that the step uses it. */
  readonly use: (at: Cursor | undefined) => string
  /** Notes that the step uses it, and where the recipe says so. */
  readonly uses: (name: string, at: Cursor) => void
  /** The step before it in the short form. */
  readonly before: StepDraft | undefined
}

/** Reads a whole small file, or tells why not; `name` is what messages call it. */
export type ReadFile = (file: string, name: string) => { readonly text: string } | { readonly fault: Diagnostic }

export interface StepPatterns {
  readonly base: string
  readonly filters: Filters
  readonly rules: readonly { readonly match: readonly LocatedPattern[] }[]
}

/** What planning a step needs. */
export interface PlanContext {
  readonly recipe: RecipeHead
  /** By model or step, as this step reads them. */
  readonly values: ReadonlyMap<string, Value>
  /** Of a model. */
  readonly configOf: (model: string) => Config | undefined
  /** Of the plan so far; what the step needs is added to them. */
  readonly scopes: ScopeBook
  readonly factorings: PlanFactoring[]
  readonly analyses: AnalysisCommon[]
  readonly faults: Faults
}

/** What a step makes. Neither a value nor a way: it has a fault. */
export interface PlannedStep {
  readonly value?: Value | undefined
  readonly way?: Way
  readonly patterns?: readonly PatternCount[]
  /** Tensors that its result has nothing of, and why. */
  readonly left?: Readonly<Record<string, string>>
}

/** Checkpoints on the way from one model to another, in the output's folder. */
export interface Way {
  readonly step: string
  readonly at: Path
  readonly points: readonly Point[]
  /** False: they are evaluated and dropped. */
  readonly keep: boolean
  readonly evaluate?: Evaluate
}

export interface Point {
  /** In the output's folder. */
  readonly name: string
  readonly t: number
  readonly value: Value
}
