/** Analyses: work on whole models that some kinds of steps do before tensors are written. */
import type { ErrorCode } from '../core/codes.js'
import type { Json } from '../core/json/shape.js'
import type { AnalysisTensor } from '../expr/types.js'
import type { StoredPermutations } from '../rebasin/stored.js'
import type { ThreadTeam as Team } from '../rebasin/team/team.js'
import type { Values } from '../views/readers.js'
import type { AxisMap } from '../views/types.js'

/**
 * Work on whole models before any tensor is written. Its findings are small, and the tensors of its steps are made
 * with them.
 */
export interface AnalysisCommon {
  readonly kind: string
  /** The names of the steps that it belongs to. */
  readonly steps: readonly string[]
  /** It chooses between results by a metric of the model that is made with each. */
  readonly select?: Selection
}

export interface Selection {
  readonly metric: string
  readonly maximize: boolean
  /** The command that measures it. */
  readonly command: readonly string[]
}

/** The cost of an analysis. */
export interface AnalysisCost {
  readonly steps: readonly string[]
  /** Minimum memory in bytes. With more memory, it reads less often. */
  readonly bytes: number
  /** Multiplications per sweep or round, approximately. */
  readonly multiplications: number
}

/**
 * The findings of an analysis for one of its steps: plain data that can be stored. Everything else is computed from
 * it.
 */
export interface Found<R> {
  /** For the lineage. */
  readonly record: R
  readonly arrays: FoundArrays
}

/** By name: permutations, a rotation, or repaired variances. */
export type FoundArrays = Readonly<Record<string, Int32Array | Float32Array | Float64Array>>

/** Reads tensors of the plan, including tensors that steps make. */
export interface TensorReader {
  /** As float32 in row-major order, in shared memory. */
  read(tensor: AnalysisTensor): Promise<Float32Array>
  /**
   * Reads rows (indices along the first axis, in any order) one after the other into `into`. False if the tensor can
   * only be read as a whole: if a step makes it, or if it follows a vocabulary.
   */
  readRows(tensor: AnalysisTensor, rows: Int32Array, into: Float32Array): Promise<boolean>
}

/** Parts of findings that are kept for a later run, which continues with them if this one ends early. */
export interface FoundParts {
  /** What an earlier run found, by the same analysis of the same content. */
  readonly find: (name: string) => FoundArrays | undefined
  readonly keep: (name: string, arrays: FoundArrays) => void
}

/** What an analysis can use. */
export interface Workshop {
  readonly reader: TensorReader
  /** Threads for matrix products and assignments. */
  readonly team: Team
  /** Bytes of memory beyond the minimum. */
  readonly spare: number
  /** For analyses that are done in parts. Absent if nothing is kept. */
  readonly parts?: FoundParts
  /** A file without a name, of so many bytes, which is open until the analysis ends, or the run for tensors: for what does not fit into memory. */
  readonly scratch?: (bytes: number) => Promise<number>
  /**
   * For analyses with `select`: makes the output that the recipe evaluates with these findings, and evaluates it. Absent if no
   * command may run.
   */
  readonly judge?: (found: ReadonlyMap<string, Found<object>>) => Promise<Readonly<Record<string, number>>>
  /** What an earlier run recorded of a step, if this run reproduces it. */
  readonly earlier?: (step: string) => object | undefined
}

/** Progress of an analysis, for people. */
export interface AnalysisProgress {
  readonly step: string
  readonly text: string
  /** Share of the step's work, if known. It never falls, and the last one is 1. */
  readonly fraction?: number
  /** Share of the work of the whole analysis, if that is another. */
  readonly whole?: number
  /** Cosine similarity of the models so far. */
  readonly similarity?: number
}

/** A line of text with the lines below it. Names are not escaped: whoever prints them escapes them. */
export interface Lines {
  readonly text: string
  readonly branches?: readonly Lines[]
}

/** The analysis of a kind of step. `A`: its description in the plan. `R`: its record in the lineage. */
export interface AnalysisKind<A extends AnalysisCommon, R> {
  /** All tensors that it reads. */
  readonly tensors: (analysis: A) => readonly AnalysisTensor[]
  readonly cost: (analysis: A) => AnalysisCost
  /** Why it is impossible on any machine. Undefined if it is possible. */
  readonly refuse?: (
    analysis: A,
  ) => { readonly code: ErrorCode; readonly message: string; readonly hint: string } | undefined
  /** Whether its findings are kept part by part. Default: they are kept as a whole. */
  readonly inParts?: (analysis: A) => boolean
  /** What it will do, for people. */
  readonly lines: (analysis: A, cost: AnalysisCost) => Lines
  /** The findings, by step. */
  readonly run: (
    analysis: A,
    workshop: Workshop,
    tell: (progress: AnalysisProgress) => void,
  ) => Promise<ReadonlyMap<string, Found<R>>>
  /** The record with the names of this analysis. It may have been found for another recipe or in another plan. */
  readonly named?: (analysis: A, step: string, record: R) => R
  /** For kinds that permute models: their permutations, as a file of its own has them. */
  readonly permutations?: {
    /** Why this analysis has none, after the name of a step. Undefined if it has. */
    readonly refuse: (analysis: A) => string | undefined
    /** The tensors that they order. */
    readonly tensors: (analysis: A) => ReadonlySet<string>
    readonly of: (analysis: A, step: string, found: FoundArrays) => Omit<StoredPermutations, 'untouched'>
  }
  /** How indices along the axes of a step's tensor are mapped. Axes without a change have no map. */
  readonly maps?: (analysis: A, found: FoundArrays, tensor: string, shape: readonly number[]) => readonly AxisMap[]
  /** How it computes a tensor, for the lineage. Default: nothing besides its sources. */
  readonly parameters?: (analysis: A, tensor: string) => Readonly<Record<string, Json>> | undefined
  /** A tensor that a step computes as a whole: float32 in shared memory, or in a scratch file. May use the workshop's reader. */
  readonly computed: (
    analysis: A,
    found: FoundArrays,
    of: { readonly step: string; readonly tensor: string },
    workshop: Workshop,
  ) => Promise<Values>
}
