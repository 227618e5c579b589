/** A pool computes the tiles of programs. The choice of the pool never changes the bytes. */
import type { WindowMode } from '../../storage/local/window.js'
import type { TaskResult, Work } from '../program.js'

export interface Pool {
  /** How many tasks can run or be queued; further ones only wait. */
  readonly capacity: number
  /** Maximal bytes of a task's widest tensor. */
  readonly taskBytes: number
  /** Bytes that a thread may keep for rows of transposed matrices. */
  readonly kept: number
  run(work: Work): Promise<TaskResult>
  /** Runs a task on all threads together, as a team. Resolves to one of the results, which are all equal. */
  together(work: Work): Promise<TeamResult>
  /** Closes files, so that they can be removed. A later task opens them again. No task that uses them may be under way. */
  release(files: PoolFiles): Promise<void>
  close(): Promise<void>
}

/** Positions of files in the setup of a pool. */
export interface PoolFiles {
  readonly inputs: readonly number[]
  readonly outputs: readonly number[]
}

export interface TeamResult extends TaskResult {
  /** The team's memory with its results, valid until other work on matrices begins. */
  readonly memory: ArrayBufferLike
}

export interface PoolSetup {
  readonly threads: number
  readonly mode: WindowMode
  readonly inputs: readonly { readonly path: string; readonly size: number }[]
  readonly outputs: readonly string[]
  /** Maximal number of leaves of a program. */
  readonly leaves: number
  /** The longest row that a program needs completely around a tile, in elements. */
  readonly reach: number
  /** Bytes that a thread may keep for rows of transposed matrices. Default: `KEPT`. */
  readonly kept?: number
  /** Bytes in which a thread may remember inputs that several passes read. Default: none. */
  readonly recall?: number
  /** Maximal bytes of matrices that a program keeps in memory. Default: 0. */
  readonly held?: number
  /** Stops the current work of a team. */
  readonly signal?: AbortSignal | undefined
}

export type OpenPool = (setup: PoolSetup) => Promise<Pool>
