import type { Listener } from './events.js'

/** Reports how much of a step's bytes is done. */
export interface ByteProgress {
  /** These bytes are done as well. */
  readonly add: (bytes: number, text: string) => void
  /** Everything is done. */
  readonly end: (text: string) => void
}

/** Emits how many of `total` bytes are done. Only `end` says that it is all of them. */
export function byteProgress(listen: Listener | undefined, step: string, total: number): ByteProgress {
  let done = 0
  return {
    add(bytes, text) {
      done += bytes
      if (done < total) listen?.({ kind: 'step', step, text, fraction: done / total, bytes: { done, total } })
    },
    end: (text) => listen?.({ kind: 'step', step, text, fraction: 1, bytes: { done: total, total } }),
  }
}
