import { formatDiagnostic } from '../core/diagnostics.js'
import { formatSize } from '../core/sizes.js'
import { counted } from '../core/words.js'
import type { RunEvent } from '../index.js'
import { formatProgress, meter } from './progress.js'
import { formatSeconds, printable, printableText } from './text.js'
import type { Renderer } from './types.js'

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
  /** The step that reports, the last of its words that was not said, and when it began and was heard. */
  let step: { name: string; held?: string; since: number; saidAt: number; said?: string } | undefined
  const tellHeld = (): void => {
    if (!step?.held || step.held === step.said) return
    say(step.held)
    step.saidAt = now()
    step.said = step.held
    delete step.held
    shownAt = step.saidAt
  }
  const due = (fraction: number): boolean => {
    const silence = now() - shownAt
    return silence >= SILENCE || (silence >= LEAST && fraction - shown >= PART)
  }
  return {
    listen(event) {
      const over =
        event.kind === 'step' ? event.step !== step?.name : event.kind !== 'progress' && event.kind !== 'output'
      if (over) tellHeld()
      if (over) step = undefined
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
          // A step may report many times a second: a word now and then, and its last, are enough. Of one that counts how far
          // it is, nothing is said before it has taken some time.
          step ??= { name: event.step, since: now(), saidAt: Number.NEGATIVE_INFINITY }
          if (event.fraction !== undefined && now() - step.since < LEAST) break
          step.held = stepLine(event)
          if (now() - step.saidAt >= SILENCE) tellHeld()
          break
        case 'notice':
          say(`note: ${printable(event.message)}`)
          break
        case 'warning':
          say(printableText(formatDiagnostic(event.diagnostic)))
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
