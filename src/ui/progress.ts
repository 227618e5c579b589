import { formatSize } from '../core/sizes.js'
import type { RunEvent } from '../index.js'
import { formatSeconds } from './text.js'

/** How far a run is. */
export interface Progress {
  /** 0 to 1. */
  readonly fraction: number
  readonly tensors: number
  /** Bytes read and written per second, over the last seconds; 0 while it is unknown. */
  readonly rate: number
  readonly secondsLeft?: number
}

/** Time constant in seconds of the moving average: long enough for a steady rate, short enough to show a slow disk. */
const MEMORY = 5

export interface Meter {
  readonly start: (event: Extract<RunEvent, { kind: 'start' }>) => void
  readonly progress: (event: Extract<RunEvent, { kind: 'progress' }>) => Progress
}

/** Computes rate and time left from a run's events. `now` in seconds. */
export function meter(now: () => number): Meter {
  let work = 0
  let before = 0
  let done = 0
  let tensors = 0
  let lastTime = 0
  let lastBytes = 0
  let weight = 0
  let rate = 0
  return {
    start(event) {
      // A resumed run does not read inputs of finished outputs again.
      before = event.write > 0 ? Math.min(1, event.done / event.write) : 0
      work = event.read * (1 - before) + event.write - event.done
      done = event.done
      tensors = event.tensors
      lastTime = now()
      lastBytes = done
      weight = 0
      rate = 0
    },
    progress(event) {
      const bytes = event.read + event.written
      const time = now()
      const elapsed = time - lastTime
      if (elapsed > 0) {
        // An exponential moving average without bias at the start: the first measurement counts fully.
        const keep = Math.exp(-elapsed / MEMORY)
        const newWeight = weight * keep + (1 - keep)
        rate = (rate * weight * keep + ((bytes - lastBytes) / elapsed) * (1 - keep)) / newWeight
        weight = newWeight
        lastTime = time
        lastBytes = bytes
      }
      const share = work > 0 ? Math.min(1, (bytes - done) / work) : event.tensors >= tensors ? 1 : 0
      const steady = Math.max(0, rate)
      return {
        fraction: before + (1 - before) * share,
        tensors: event.tensors,
        rate: steady,
        ...(steady > 0 ? { secondsLeft: Math.max(0, work - (bytes - done)) / steady } : {}),
      }
    },
  }
}

/** `42 %, 2.31 GB/s, 12 s left`. */
export function formatProgress({ fraction, rate, secondsLeft }: Progress): string {
  const parts = [`${Math.floor(fraction * 100)} %`]
  if (rate > 0) parts.push(`${formatSize(rate)}/s`)
  if (secondsLeft !== undefined && fraction < 1) parts.push(`${formatSeconds(secondsLeft)} left`)
  return parts.join(', ')
}
