import type { Fault } from '../core/diagnostics.js'
import type { Kernels } from '../kernels/index.js'
import type { Flow } from '../plan/flow/types.js'
import type { Unit } from '../plan/units.js'
import type { FoundArrays } from '../steps/analysis.js'
import type { FoundRecord } from '../steps/index.js'
import type { CheckRecord } from '../steps/types.js'
import type { InputState } from '../storage/local/inputStates.js'
import type { Listener } from './events.js'
import type { OpenPool } from './pools/types.js'
import type { UnitRecord } from './units/records.js'

/** The absolute paths of a plan's files on this machine. Never part of a plan. */
export interface Bindings {
  /** By `Plan.files`. */
  readonly files: readonly string[]
  /** By `Plan.models`: the file, or the folder of its small files. */
  readonly models: readonly string[]
  /** By `Plan.outputs`. */
  readonly outputs: readonly string[]
  /** The states of all inputs when the plan was made: weights by `Plan.files`, and small files. */
  readonly inputs: readonly InputState[]
}

/** An output that is not on this machine. It is staged in a local folder. */
export interface Delivery {
  /** For messages. */
  readonly address: string
  /** Whether complete files are uploaded before the end and removed here. */
  readonly early: boolean
  /** Uploads a complete file. `digests`: of its tensors, in the order of the file. */
  deliver(file: number, path: string, digests: readonly string[], signal: AbortSignal): Promise<void>
  /** The digests of a file that an earlier run uploaded; undefined if it did not. */
  delivered(file: number): readonly string[] | undefined
  /** An earlier run's file is used: it is not made again. */
  take(file: number): void
  /** Whether a file was uploaded, so that it is not here. */
  isDone(file: number): boolean
  /** Uploads the other staged files of this folder, and makes all files visible together. */
  publish(folder: string): Promise<void>
}

/** Files that are fetched for this run and removed again. Files are given by `Plan.files`. */
export interface Supply {
  /** Whether it brings this file. */
  brings(file: number): boolean
  /** Resolves when these are whole, verified and at `Bindings.files`. Errors: those of downloads. */
  need(files: readonly number[]): Promise<void>
  /** Says what is still to come, for progress. Files that come again are listed again. */
  expect(files: Iterable<number>): void
  /** Begins to fetch them, a few at the same time. Nobody waits for them yet. */
  ahead(files: readonly number[]): void
  /** Bytes that a file takes while it is there. Of files with the same content, only the first one takes any. */
  sizeOf(file: number): number
  /** Bytes that the disk may take. */
  readonly disk: number
  /** Nothing reads them any more: removes them. Nobody may hold them open. Error: `input-changed`. */
  drop(files: readonly number[]): Promise<void>
  /** Those that are there. */
  there(): ReadonlySet<number>
  /** Those that are there, and those on their way. */
  held(): Iterable<number>
  /** The states of those that are there. */
  states(): readonly InputState[]
  /** What identifies the content of a file, if the supply verifies more than its length. */
  identityOf(file: number): string | undefined
}

/** A run whose files come and go: the order of its work, and who brings the files. */
export interface Streaming {
  readonly flow: Flow
  readonly supply: Supply
}

/** Receives files that a run is done with. */
export interface FileEnds {
  /** By `Plan.files`: all of its tensors were read. Other work can read it again. */
  input(file: number): void
  /** The path of a staged file of an output that has all of its tensors. */
  output(place: string): void
}

export interface ExecuteOptions {
  readonly threads: number
  /** Limit of anonymous memory in bytes, for all threads together. */
  readonly memory: number
  readonly resume: boolean
  readonly force: boolean
  readonly sync: boolean
  readonly digests: boolean
  /** Fail on results that are not finite although their inputs are. */
  readonly strict: boolean
  /** By `Plan.outputs`: whether an earlier run published it, so that nothing is left to do. */
  readonly finished?: (output: number) => boolean
  /** The folder in which `evaluate` commands run. Absent: they are skipped. */
  readonly commands?: string
  /** What an earlier run recorded of a step, if this run reproduces it. */
  readonly earlier?: ((step: string) => object | undefined) | undefined
  /** Called when the outputs' paths are claimed, before inputs are read. It can take long, or throw. */
  readonly before?: () => Promise<void>
  /** By `Plan.outputs`: those that are uploaded. */
  readonly deliveries?: ReadonlyMap<number, Delivery>
  /** Absent: nobody asks. */
  readonly ends?: FileEnds
  /** After a failure: whether unfinished work is kept even without `resume`. */
  readonly keeps?: () => boolean
  /** Absent: all files are there when `before` has ended. */
  readonly streaming?: Streaming
  readonly listen: Listener
  readonly signal?: AbortSignal
  /** The pool to use instead of threads. */
  readonly openPool?: OpenPool
  /** For tests: after how many bytes of a tensor, read and written, a range of tiles is recorded. */
  readonly rangeBytes?: number
  /** Records from other runs. Like those of the journal, they count only if the digests of inputs and outputs match. */
  readonly records?: Iterable<UnitRecord>
  /** Digests of stored tensors that other runs read, from files that are still the same. These are not read again. */
  readonly known?: ReadonlyMap<number, string>
  /** Makes nothing that other runs have not made: the error about what is missing. */
  readonly left?: (units: readonly Unit[]) => Fault
  /** By output: the folder where other runs have written its files. Absent: beside the output. */
  readonly staged?: (output: number) => string | undefined
}

/** The findings of a run, and some outputs that are complete except for their lineages, which the caller makes. */
export interface Executed {
  /** Indexes into `Plan.outputs`. */
  readonly outputs: readonly ExecutedOutput[]
  /** Digests of stored tensors, by `Plan.files` and their tensors; null if the run skips digests. */
  readonly inputs: (file: number) => readonly (string | null)[]
  /** The lineage records of steps. */
  readonly steps: ReadonlyMap<string, FoundRecord>
  /** What the checks of steps compared. */
  readonly checks?: ReadonlyMap<string, CheckRecord>
  /** The results of passes, by scope of the plan. */
  readonly scopes: readonly (readonly Float64Array[])[]
  /** The records of all units so far. */
  readonly records: () => Iterable<UnitRecord>
  /** The arrays that an analysis found for a step. */
  readonly found: (step: string) => FoundArrays
  readonly kernels: Kernels
}

export interface ExecutedOutput {
  /** Index into `Plan.outputs`. */
  readonly output: number
  /** By `PlanOutput.tensors`. */
  readonly records: readonly UnitRecord[]
  /** Index, config and tokenizer files. */
  readonly beside: readonly {
    readonly name: string
    readonly size: number
    readonly digest: string | null
    readonly sha256: string
  }[]
  /** Absolute paths of the staged files with tensors. */
  readonly files: readonly string[]
  /** The figures of a command, by name. */
  readonly evaluations?: Readonly<Record<string, number>>
}

/** The texts of an output: its lineage, and the model card of a folder. */
export interface Description {
  /** In pieces, for one iteration. */
  readonly lineage: Iterable<string>
  /** Called after the lineage has been written. */
  readonly card: () => string
  /** Called after the lineage and the card have been written: the checksums of all files. Absent if nobody asked for them. */
  readonly checksums?: () => string
  /** The file of permutations next to the output. */
  readonly permutations?: Uint8Array
}
