import type { Listener } from '../index.js'

/** Shows a run. It only listens: nothing that it does can change the run. */
export interface Renderer {
  readonly listen: Listener
  /** After the last event, whole or not; resolves when nothing more will be written. */
  readonly finish: (outcome: 'done' | 'failed') => Promise<void>
}
