import { formatSize } from '../../core/sizes.js'
import { counted } from '../../core/words.js'
import type { RunEvent } from '../../index.js'
import { diagnosticText } from '../problems.js'
import { formatSeconds, printable } from '../text.js'
import { formatProgress, meter, type Progress, stepMeter } from './meter.js'
import { type Renderer, STOP_HINT } from './types.js'

/** A log gets a line of progress after this many seconds without one. */
const SILENCE = 10
/** It also gets one after this share of the work, if that took at least LEAST seconds. */
const PART = 0.1
const LEAST = 2

export const startLine = (event: Extract<RunEvent, { kind: 'start' }>): string =>
  `merging ${counted(event.tensors, 'tensor')}: ${formatSize(event.read)} to read, ${formatSize(event.write)} to write, ` +
  `${counted(event.threads, 'thread')}${event.done > 0 ? `; ${formatSize(event.done)} already done` : ''}`

/** The progress that a step reports: `rebasin: layer 3 (similarity 0.4231, 40 %, 12 s left)`. */
function stepLine({ step, text, fraction, similarity }: StepEvent, progress: Progress | undefined): string {
  const whole = fraction === undefined || fraction >= 1
  const facts = [
    ...(similarity === undefined || whole ? [] : [`similarity ${similarity.toFixed(4)}`]),
    ...(progress === undefined || whole ? [] : [formatProgress(progress)]),
  ]
  return `${printable(step)}: ${printable(text)}${facts.length > 0 ? ` (${facts.join(', ')})` : ''}`
}

type StepEvent = Extract<RunEvent, { kind: 'step' }>

/** Shows a run as plain lines, for logs and pipes. `now` in seconds; `inColour` colours warnings. */
export function plainRenderer(stream: { write(text: string): unknown }, now: () => number, inColour = false): Renderer {
  const { start, progress } = meter(now)
  const progressOfStep = stepMeter(now)
  const say = (line: string): void => void stream.write(`${line}\n`)
  let shownAt = now()
  let shown = 0
  /** The step that reports: `held` is its last line that was not printed, `said` the last one that was, at `saidAt`. */
  let step: { name: string; held?: string; since: number; saidAt: number; said?: string } | undefined
  const sayHeld = (): void => {
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
      if (over) sayHeld()
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
        case 'step': {
          const far = progressOfStep(event)
          // A step can report many times a second: a line now and then, and the last one, are enough. A step that reports a
          // fraction prints nothing until it has taken some time.
          step ??= { name: event.step, since: now(), saidAt: Number.NEGATIVE_INFINITY }
          if (event.fraction !== undefined && now() - step.since < LEAST) break
          step.held = stepLine(event, far)
          if (now() - step.saidAt >= SILENCE) sayHeld()
          break
        }
        case 'notice':
          say(`note: ${printable(event.message)}`)
          break
        case 'warning':
          say(diagnosticText(event.diagnostic, inColour))
          break
        case 'end':
          say(`done in ${formatSeconds(event.seconds)}`)
          break
        // The command prints outputs as its result, on standard output.
        case 'output':
        case 'phase':
          break
      }
    },
    stopping: () => say(`stopping; ${STOP_HINT}`),
    finish: async () => sayHeld(),
  }
}
