/** Work on whole models that some kinds of step ask for: what it is given, and what it finds. */
import type { ErrorCode } from '../core/codes.js'
import type { AnalysisTensor } from '../expr/types.js'
import type { ThreadTeam as Team } from '../rebasin/team/team.js'
import type { AxisMap } from '../views/types.js'

/** Work on whole models that comes before any tensor is written. It finds little: what the steps' tensors are then made with. */
export interface AnalysisCommon {
  readonly kind: string
  /** The steps that it is for. */
  readonly steps: readonly string[]
}

/** What an analysis takes. */
export interface AnalysisCost {
  readonly steps: readonly string[]
  /** Of memory, at the least: with more it reads less often. */
  readonly bytes: number
  /** Of one sweep or round, roughly. */
  readonly multiplications: number
}

/** What an analysis found for one of its steps: plain data that can be kept, and that everything else is made from. */
export interface Found<R> {
  /** For the lineage. */
  readonly record: R
  readonly arrays: FoundArrays
}

/** By name: permutations, a rotation, repaired variances. */
export type FoundArrays = Readonly<Record<string, Int32Array | Float32Array | Float64Array>>

/** Reads a plan's tensors, those that steps make included. */
export interface TensorReader {
  /** As float32, in row-major order, on memory that threads can share. */
  read(tensor: AnalysisTensor): Promise<Float32Array>
  /**
   * Puts rows (places along the first axis, in any order) one after the other to `into`. False where the tensor can only be read
   * whole: where a step makes it, or a vocabulary.
   */
  readRows(tensor: AnalysisTensor, rows: Int32Array, into: Float32Array): Promise<boolean>
}

/** What an analysis works with. */
export interface Workshop {
  readonly reader: TensorReader
  /** Threads for products of matrices and assignments. */
  readonly team: Team
  /** Bytes of memory beyond what the analysis needs at the least. */
  readonly spare: number
}

/** What an analysis is doing, for people. */
export interface AnalysisProgress {
  readonly step: string
  readonly text: string
  /** Of the whole work, where it is known. */
  readonly fraction?: number
}

/** A line of text with those that belong below it. Names in it are as they are: whoever prints it makes them safe. */
export interface Lines {
  readonly text: string
  readonly branches?: readonly Lines[]
}

/** The part of a kind whose steps look at whole models first. `A`: the plan's description of that work. `R`: its record. */
export interface AnalysisKind<A extends AnalysisCommon, R> {
  /** Every tensor that it reads. */
  readonly tensors: (analysis: A) => readonly AnalysisTensor[]
  readonly cost: (analysis: A) => AnalysisCost
  /** Why it cannot be done on any machine. */
  readonly refuse?: (
    analysis: A,
  ) => { readonly code: ErrorCode; readonly message: string; readonly hint: string } | undefined
  /** What it will do, for people. */
  readonly lines: (analysis: A, cost: AnalysisCost) => Lines
  /** By step. */
  readonly run: (
    analysis: A,
    workshop: Workshop,
    tell: (progress: AnalysisProgress) => void,
  ) => Promise<ReadonlyMap<string, Found<R>>>
  /** The record under the names of this analysis: it may have been found for another recipe, or in another plan. */
  readonly named?: (analysis: A, step: string, record: R) => R
  /** How places along the axes of a tensor of a step are read; axes that stay as they are have no map. */
  readonly maps?: (analysis: A, found: FoundArrays, tensor: string, shape: readonly number[]) => readonly AxisMap[]
  /** A tensor that a step computes whole, as float32 on memory that threads share. Its workshop's reader is free for it. */
  readonly computed: (
    analysis: A,
    found: FoundArrays,
    of: { readonly step: string; readonly tensor: string },
    workshop: Workshop,
  ) => Promise<Float32Array>
}
