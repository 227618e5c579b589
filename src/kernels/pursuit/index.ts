/** Work of one thread on the rows of a task. */
import { makeRows } from './integers.js'
import { growingMemory, type Memory } from './memory.js'
import { nearestOn } from './nearest.js'
import { pursueAll } from './omp.js'
import { makeCosines } from './pairs.js'
import { spaceOn } from './space.js'
import { sumRows } from './sums.js'
import type { CosinesTask, Files, PursuitTask, RowsTask, SumsTask } from './types.js'

export { cosinesBytes, cosinesInMemory } from './cosines.js'
export { integersBytes, integersOf } from './integers.js'
export { pursuitBytes } from './omp.js'
export { tilesOf } from './pairs.js'
export type {
  CosineStore,
  CosinesTask,
  Dictionary,
  Files,
  Integers,
  NearestMethod,
  NearestTask,
  OmpTask,
  PursuitMethod,
  PursuitTask,
  RowsTask,
  SumsTask,
} from './types.js'

/** Rows that a thread takes at once. */
const SHARE = 4

/** One thread's part of tasks. Each ends when nothing of the task is left to take. */
export interface Pursuer {
  /** Approximates rows. */
  pursue(task: PursuitTask): void
  makeRows(task: RowsTask): void
  makeCosines(task: CosinesTask): void
  sumRows(task: SumsTask): void
}

export function pursuer(files: Files): Pursuer {
  const memory: Memory = growingMemory()
  return {
    makeRows: (task) => makeRows(memory, task),
    makeCosines: (task) => makeCosines(memory, task, files),
    sumRows: (task) => sumRows(memory, task, files),
    pursue(task) {
      if (task.method === 'omp') return pursueAll(memory, task, files)
      const { dictionary, k, tokens, next } = task
      const one = nearestOn(spaceOn(memory, dictionary.width, k).space, task)
      for (let at = Atomics.add(next, 0, SHARE); at < tokens; at = Atomics.add(next, 0, SHARE))
        for (let token = at; token < Math.min(tokens, at + SHARE); token++) one(token)
    },
  }
}
