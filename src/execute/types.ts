import type { Kernels } from '../kernels/index.js'
import type { FoundRecord } from '../steps/index.js'
import type { InputState } from '../storage/local/inputStates.js'
import type { Listener } from './events.js'
import type { OpenPool } from './pools/types.js'
import type { UnitRecord } from './units/records.js'

/** Where a plan's files lie on this machine: absolute paths. Never part of a plan. */
export interface Bindings {
  /** By `Plan.files`. */
  readonly files: readonly string[]
  /** By `Plan.models`: file or folder. */
  readonly models: readonly string[]
  /** By `Plan.outputs`. */
  readonly outputs: readonly string[]
  /** Everything that is read, as it was when the plan was made: weights by `Plan.files`, and small files. */
  readonly inputs: readonly InputState[]
}

export interface ExecuteOptions {
  readonly threads: number
  /** Bound of anonymous memory in bytes, all threads together. */
  readonly memory: number
  readonly resume: boolean
  readonly force: boolean
  readonly sync: boolean
  readonly digests: boolean
  /** Results that are not finite where their inputs are end the run. */
  readonly strict: boolean
  /** By `Plan.outputs`: an earlier run published it, and nothing is done for it. */
  readonly finished?: (output: number) => boolean
  /** Where given, `evaluate` commands run, in this folder; else they are left out. */
  readonly commands?: string
  /** What is to be done once the outputs' places are claimed, before inputs are read: it may take long, or refuse. */
  readonly before?: () => Promise<void>
  readonly listen: Listener
  readonly signal?: AbortSignal
  /** Where tasks are done, if not on threads. */
  readonly openPool?: OpenPool
  /** Records that were made elsewhere. Like those of the journal, they are believed only where inputs and outputs are as they say. */
  readonly records?: Iterable<UnitRecord>
}

/** What a run found out, and some of its outputs that are whole but for their lineages; the caller makes those. */
export interface Executed {
  /** Indexes into `Plan.outputs`. */
  readonly outputs: readonly ExecutedOutput[]
  /** Digests of stored tensors, by `Plan.files` and their tensors; null where the run leaves digests out. */
  readonly inputs: (file: number) => readonly (string | null)[]
  /** What steps leave in the lineage. */
  readonly steps: ReadonlyMap<string, FoundRecord>
  /** By scope of the plan, what its passes found. */
  readonly scopes: readonly (readonly Float64Array[])[]
  /** Of all units so far. */
  readonly records: () => Iterable<UnitRecord>
  readonly kernels: Kernels
}

export interface ExecutedOutput {
  /** Index into `Plan.outputs`. */
  readonly output: number
  /** By `PlanOutput.tensors`. */
  readonly records: readonly UnitRecord[]
  /** Index, config and tokenizer files. */
  readonly beside: readonly { readonly name: string; readonly size: number; readonly digest: string | null }[]
  /** Of the checkpoint's files, absolute, while they are staged. */
  readonly files: readonly string[]
  /** What a command found out, by name. */
  readonly evaluations?: Readonly<Record<string, number>>
}

/** What is written of an output for people and programs: its lineage, and the model card of a folder. */
export interface Description {
  /** In pieces, to be gone through once. */
  readonly lineage: Iterable<string>
  /** Asked for when the lineage has been written. */
  readonly card: () => string
}
