import type { Listener } from '../../index.js'

/** Shows a run to people. It only listens and cannot change the run. */
export interface Renderer {
  readonly listen: Listener
  /** The user has asked to stop: says so, until `finish`. */
  readonly stopping: () => void
  /** Call it after the last event, also of a failed run. Resolves when everything is written. */
  readonly finish: (outcome: 'done' | 'failed') => Promise<void>
}

/** While a command stops. */
export const STOP_HINT = 'press Ctrl-C again to force quit'

/** The names of a command's phases: one, or those before, during and after a merge. */
export type Phases = readonly [string] | readonly [string, string, string]
