import { formatSize } from '../core/sizes.js'
import type { RunEvent } from '../execute/events.js'
import { formatProgress, meter } from './progress.js'
import type { Renderer } from './renderer.js'
import { counted, formatSeconds, printable } from './text.js'

/** Sparse enough for a log: a line of progress after this many seconds, */
const SILENCE = 10
/** or after this part of the work, if it took at least LEAST seconds. */
const PART = 0.1
const LEAST = 2

export const startLine = (event: Extract<RunEvent, { kind: 'start' }>): string =>
  `merging ${counted(event.tensors, 'tensor')}: ${formatSize(event.read)} to read, ${formatSize(event.write)} to write, ` +
  `${counted(event.threads, 'thread')}${event.done > 0 ? `; ${formatSize(event.done)} are done already` : ''}`

/** A step's own report: `rebasin: layer 3 (40 %)`. */
export const stepLine = (event: Extract<RunEvent, { kind: 'step' }>): string =>
  `${printable(event.step)}: ${printable(event.text)}${event.fraction === undefined || event.fraction >= 1 ? '' : ` (${Math.floor(event.fraction * 100)} %)`}`

/** Plain lines, for logs and pipes. */
export function plainRenderer(stream: { write(text: string): unknown }, now: () => number): Renderer {
  const { start, progress } = meter(now)
  const say = (line: string): void => void stream.write(`${line}\n`)
  let shownAt = now()
  let shown = 0
  /** The last word of a step that has not been said yet. */
  let held: Extract<RunEvent, { kind: 'step' }> | undefined
  let stepAt = Number.NEGATIVE_INFINITY
  const tellHeld = (): void => {
    if (held) say(stepLine(held))
    held = undefined
  }
  const due = (fraction: number): boolean => {
    const silence = now() - shownAt
    return silence >= SILENCE || (silence >= LEAST && fraction - shown >= PART)
  }
  return {
    listen(event) {
      const over =
        event.kind === 'step' ? event.step !== held?.step : event.kind !== 'progress' && event.kind !== 'output'
      if (over) tellHeld()
      switch (event.kind) {
        case 'start':
          start(event)
          shownAt = now()
          say(startLine(event))
          break
        case 'progress': {
          const state = progress(event)
          if (!due(state.fraction)) return
          shownAt = now()
          shown = state.fraction
          say(formatProgress(state))
          break
        }
        case 'step':
          // A step may report many times a second: a word now and then, and its last, are enough.
          held = event
          if (now() - stepAt < SILENCE) return
          stepAt = now()
          shownAt = stepAt
          tellHeld()
          break
        case 'notice':
          say(`note: ${printable(event.message)}`)
          break
        case 'end':
          say(`done in ${formatSeconds(event.seconds)}`)
          break
        // What was written is the command's result, for standard output.
        case 'output':
        case 'phase':
          break
      }
    },
    finish: async () => tellHeld(),
  }
}
