/** A pool is where the tiles of programs are computed. A run is given one; which one it is can never show in the bytes. */
import type { WindowMode } from '../../storage/local/window.js'
import type { TaskResult, Work } from '../program.js'

export interface Pool {
  /** How many tasks may be under way: more of them only wait. */
  readonly capacity: number
  /** Bytes of a task's widest tensor at the most. */
  readonly taskBytes: number
  run(work: Work): Promise<TaskResult>
  /** Runs a task on all threads at once, as a team. Hands on one of the results, which are all the same. */
  together(work: Work): Promise<TeamResult>
  close(): Promise<void>
}

export interface TeamResult extends TaskResult {
  /** What the team left; it is there until other work on matrices begins. */
  readonly memory: ArrayBufferLike
}

export interface PoolSetup {
  readonly threads: number
  readonly mode: WindowMode
  readonly inputs: readonly { readonly path: string; readonly size: number }[]
  readonly outputs: readonly string[]
  /** The most leaves that one program reads. */
  readonly leaves: number
  /** The longest row that a program needs whole around a tile, in elements. */
  readonly reach: number
  /** The most bytes of matrices that a program holds; none unless told. */
  readonly held?: number
  /** Ends what a team has under way. */
  readonly signal?: AbortSignal | undefined
}

export type OpenPool = (setup: PoolSetup) => Promise<Pool>
