/** Work of one thread on the rows of a task. */
import { nearestOn } from './nearest.js'
import { ompOn } from './omp.js'
import { spaces } from './space.js'
import type { PursuitTask } from './types.js'

export type { Dictionary, Gram, PursuitMethod, PursuitTask } from './types.js'

/** Rows that a thread takes at once. */
const SHARE = 4

/** Approximates rows of a task until none is left. */
export function pursuer(): (task: PursuitTask) => void {
  const layOut = spaces()
  return (task) => {
    const { dictionary, k, method, tokens, next } = task
    const space = layOut(dictionary.count, dictionary.width, k, method === 'omp')
    const one = method === 'omp' ? ompOn(space, task) : nearestOn(space, task)
    for (let at = Atomics.add(next, 0, SHARE); at < tokens; at = Atomics.add(next, 0, SHARE))
      for (let token = at; token < Math.min(tokens, at + SHARE); token++) one(token)
  }
}
