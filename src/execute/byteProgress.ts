import type { Listener } from './events.js'

/** Milliseconds between events. */
const EVERY = 50

/** Reports how much of a step's bytes is done. */
export interface ByteProgress {
  /** These bytes are done as well. */
  readonly add: (bytes: number, text: string) => void
  /** Everything is done. */
  readonly end: (text: string) => void
}

/** Emits the share of `total` bytes that is done: at most 20 events per second, and always the last one. */
export function byteProgress(listen: Listener | undefined, step: string, total: number): ByteProgress {
  let done = 0
  let last = Number.NEGATIVE_INFINITY
  return {
    add(bytes, text) {
      done += bytes
      const now = performance.now()
      // The last event comes from `end`.
      if (done >= total || now - last < EVERY) return
      last = now
      listen?.({ kind: 'step', step, text, fraction: done / total })
    },
    end: (text) => listen?.({ kind: 'step', step, text, fraction: 1 }),
  }
}
