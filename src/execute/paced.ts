import type { Listener, RunEvent } from './events.js'

/** Milliseconds between events about progress. */
const EVERY = 50

/** Does work whose events about progress come at most 20 times per second, the last ones before it ends. */
export async function withPace<T>(
  listen: Listener | undefined,
  work: (listen: Listener | undefined) => Promise<T>,
): Promise<T> {
  if (!listen) return work(undefined)
  const pace = paced(listen)
  try {
    return await work(pace.listen)
  } finally {
    pace.end()
  }
}

/**
 * Passes on at most 20 events about progress per second. They are totals, so a later one replaces those before it. What a step says
 * last is always passed on: before another step, before any other event, and when it is complete.
 */
export function paced(listen: Listener): { readonly listen: Listener; readonly end: () => void } {
  const held = new Map<'step' | 'progress', RunEvent>()
  let last = Number.NEGATIVE_INFINITY
  let timer: NodeJS.Timeout | undefined
  const flush = (): void => {
    clearTimeout(timer)
    timer = undefined
    const events = [...held.values()]
    held.clear()
    for (const event of events) listen(event)
  }
  const late = (): void => {
    last = performance.now()
    flush()
  }
  const pass = (event: RunEvent): void => {
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
    if (now - last < EVERY && !complete) {
      // Nothing may follow for a long time.
      timer ??= setTimeout(late, EVERY).unref()
      return
    }
    last = now
    flush()
  }
  return { listen: pass, end: flush }
}
