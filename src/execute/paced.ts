import type { Listener, RunEvent } from './events.js'

/** Milliseconds between events about progress. */
const EVERY = 50

/**
 * Passes on at most 20 events about progress per second. They are totals, so a later one replaces those before it. What a step says
 * last is always passed on: before another step, before any other event, and when it is complete.
 */
export function paced(listen: Listener): Listener {
  const held = new Map<'step' | 'progress', RunEvent>()
  let last = Number.NEGATIVE_INFINITY
  const flush = (): void => {
    const events = [...held.values()]
    held.clear()
    for (const event of events) listen(event)
  }
  return (event) => {
    if (event.kind !== 'step' && event.kind !== 'progress') {
      flush()
      listen(event)
      return
    }
    const before = held.get(event.kind)
    if (before?.kind === 'step' && event.kind === 'step' && before.step !== event.step) flush()
    held.set(event.kind, event)
    const now = performance.now()
    const complete = event.kind === 'step' && event.fraction === 1
    if (now - last < EVERY && !complete) return
    last = now
    flush()
  }
}
