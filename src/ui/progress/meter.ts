import { formatSize } from '../../core/sizes.js'
import type { RunEvent } from '../../index.js'
import { formatSeconds } from '../text.js'

/** How far work is. */
export interface Progress {
  /** 0 to 1. */
  readonly fraction: number
  /** Absent if the work is not measured in bytes. */
  readonly bytes?: { readonly done: number; readonly total: number }
  /** Bytes per second, over the last seconds; 0 while it is unknown. */
  readonly rate: number
  readonly secondsLeft?: number
}

/** Time constant in seconds of the moving average: long enough for a steady rate, short enough to show a slow disk. */
const MEMORY = 5
/** After so many seconds a time left is more than a guess. */
const SOON = 1

type Start = Extract<RunEvent, { kind: 'start' }>
type Step = Extract<RunEvent, { kind: 'step' }>

/** The bytes per second up to now, as a moving average. `now` in seconds. */
function movingRate(now: () => number) {
  let lastTime = 0
  let lastBytes = 0
  let weight = 0
  let rate = 0
  return {
    start(bytes: number): void {
      lastTime = now()
      lastBytes = bytes
      weight = 0
      rate = 0
    },
    next(bytes: number): number {
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
      return Math.max(0, rate)
    },
  }
}

const left = (rest: number, rate: number) => (rate > 0 ? { secondsLeft: Math.max(0, rest) / rate } : {})

export interface Meter {
  readonly start: (event: Start) => void
  readonly progress: (event: Extract<RunEvent, { kind: 'progress' }>) => Progress
}

/** Computes rate and time left from a run's events. `now` in seconds. */
export function meter(now: () => number): Meter {
  const rates = movingRate(now)
  let total = 0
  let work = 0
  let before = 0
  let done = 0
  let tensors = 0
  return {
    start(event) {
      // A resumed run does not read inputs of finished outputs again.
      before = event.write > 0 ? Math.min(1, event.done / event.write) : 0
      work = event.read * (1 - before) + event.write - event.done
      total = event.read + event.write
      done = event.done
      tensors = event.tensors
      rates.start(done)
    },
    progress(event) {
      const bytes = event.read + event.written
      const rate = rates.next(bytes)
      const share = work > 0 ? Math.min(1, (bytes - done) / work) : event.tensors >= tensors ? 1 : 0
      const fraction = before + (1 - before) * share
      const sizes = total > 0 ? { bytes: { done: fraction * total, total } } : {}
      return { fraction, ...sizes, rate, ...left(work - (bytes - done), rate) }
    },
  }
}

/** Computes rate and time left from the events of steps. Undefined for a step that does not say how far it is. */
export function stepMeter(now: () => number): (event: Step) => Progress | undefined {
  const rates = movingRate(now)
  let key: string | undefined
  let began = 0
  let first = 0
  return ({ step, fraction, overall, bytes }) => {
    const share = overall ?? fraction
    if (share === undefined) return undefined
    // Analyses are one work, in the order of their steps.
    const own = overall === undefined ? `step ${step}` : 'analyses'
    if (own !== key) {
      key = own
      began = now()
      first = share
      if (bytes) rates.start(bytes.done)
    }
    if (bytes) {
      const rate = rates.next(bytes.done)
      return { fraction: share, bytes, rate, ...left(bytes.total - bytes.done, rate) }
    }
    const elapsed = now() - began
    const known = elapsed >= SOON && share > first
    return { fraction: share, rate: 0, ...(known ? left(1 - share, (share - first) / elapsed) : {}) }
  }
}

/** `2.31 of 5.50 GB`. */
function sizesText({ done, total }: NonNullable<Progress['bytes']>): string {
  const [a, b] = [formatSize(Math.round(done)), formatSize(total)]
  const unit = b.replace(/^[\d.]+/, '')
  return `${a.endsWith(unit) ? a.slice(0, -unit.length) : a} of ${b}`
}

/** The parts of a line about progress. */
export function progressParts({ fraction, bytes, rate, secondsLeft }: Progress) {
  const unfinished = secondsLeft !== undefined && fraction < 1
  return {
    percent: `${Math.floor(fraction * 100)} %`,
    ...(bytes ? { bytes: sizesText(bytes) } : {}),
    ...(rate > 0 ? { rate: `${formatSize(rate)}/s` } : {}),
    ...(unfinished ? { left: `${formatSeconds(secondsLeft)} left` } : {}),
  }
}

/** `42 %, 2.31 of 5.50 GB, 1.20 GB/s, 12 s left`. */
export const formatProgress = (progress: Progress): string => Object.values(progressParts(progress)).join(', ')
