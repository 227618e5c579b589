import type { RunEvent } from '../../index.js'
import { diagnosticText, showsColours } from '../problems.js'
import { formatSeconds, printable } from '../text.js'
import { barLines, ending, type Look, shortened, showsUnicode } from './bar.js'
import { formatProgress, meter, type Progress, stepMeter } from './meter.js'
import { picture } from './picture.js'
import { startLine } from './plain.js'
import { type Phases, type Renderer, STOP_HINT } from './types.js'

/** Positions of phases. A command without a run has only the first. */
const [MERGING, PUBLISHING] = [1, 2] as const

/** What a phase shows below its name. */
interface Shown {
  progress?: Progress
  /** The tensor under way, or what a step says. */
  readonly below: Map<'tensor' | 'step' | 'similarity', string>
  /** Instead of a bar, and after the phase. */
  text?: string
}

/** Icon, space, and the columns that the drawing keeps free. */
const MARGIN = 4

/** A phase's name with its text. */
const titled = (name: string, text = ''): string => (text === '' ? name : `${name}: ${text}`)

/** The lines of a phase while it runs: a bar, and below it what is under way. */
function lines(name: string, { progress, below, text }: Shown, look: Look): string {
  const head = progress ? barLines(name, progress, look) : [shortened(titled(name, text), look.width)]
  const rest = [...below].map(([kind, line]) => (kind === 'tensor' ? ending : shortened)(line, look.width))
  return [...head, ...rest].join('\n')
}

function complete(phase: Shown): void {
  const { progress } = phase
  if (!progress) return
  const bytes = progress.bytes && { bytes: { ...progress.bytes, done: progress.bytes.total } }
  phase.progress = { ...progress, ...bytes, fraction: 1 }
}

/** One line about a phase that has ended. */
function lastLine(name: string, { progress, below, text }: Shown, look: Look): string {
  const what = text ?? (progress?.bytes ? formatProgress(progress) : (below.get('step') ?? ''))
  return shortened(titled(name, what), look.width)
}

/**
 * Shows work on a terminal: each phase with a bar, rate and time left, and below it what is under way, redrawn in place. `now` in
 * seconds.
 */
export function terminalRenderer(stream: NodeJS.WriteStream, now: () => number, phases: Phases): Renderer {
  const { start, progress } = meter(now)
  const progressOfStep = stepMeter(now)
  const shown: Shown[] = phases.map(() => ({ below: new Map() }))
  const inColour = showsColours(stream, process.env)
  const look = lookOf(stream, inColour)
  const { draw, drawn, redraw, reach, current, close } = picture(stream, phases, (phase, over) =>
    (over ? lastLine : lines)(phases[phase]!, shown[phase]!, look()),
  )
  const notices: string[] = []
  let stopping = false
  const say = (phase: number, text: string): void => {
    shown[phase]!.text = text
    redraw(phase)
  }
  const step = (event: Extract<RunEvent, { kind: 'step' }>): void => {
    const { below } = shown[current()]!
    const far = progressOfStep(event)
    // The bar of a merge is that of all its bytes.
    if (far && current() !== MERGING) shown[current()]!.progress = far
    below.set('step', `${printable(event.step)}: ${printable(event.text)}`)
    if (event.similarity === undefined) below.delete('similarity')
    else below.set('similarity', `similarity ${event.similarity.toFixed(4)}`)
    redraw(current())
  }
  const listen = (event: RunEvent): void => {
    // What is under way still ends.
    if (stopping && (event.kind === 'step' || event.kind === 'progress')) return
    switch (event.kind) {
      case 'start':
        draw()
        start(event)
        say(MERGING, startLine(event).replace(/^merging /, ''))
        break
      case 'progress':
        shown[MERGING]!.progress = progress(event)
        if (event.tensor !== undefined) shown[MERGING]!.below.set('tensor', printable(event.tensor))
        delete shown[MERGING]!.text
        redraw(MERGING)
        break
      case 'step':
        draw()
        step(event)
        break
      case 'phase':
        draw()
        // The last event of progress came before the last bytes.
        if (event.phase !== 'merging') complete(shown[MERGING]!)
        reach(event.phase === 'merging' ? MERGING : PUBLISHING)
        if (event.phase === 'flushing') say(PUBLISHING, 'fsync')
        break
      case 'notice':
        notices.push(`note: ${printable(event.message)}`)
        break
      case 'warning':
        notices.push(diagnosticText(event.diagnostic, inColour))
        break
      case 'end':
        say(PUBLISHING, `done in ${formatSeconds(event.seconds)}`)
        break
      // The command prints outputs as its result, on standard output.
      case 'output':
        break
    }
  }
  return {
    listen,
    stopping() {
      stopping = true
      if (!drawn()) return void stream.write(`stopping; ${STOP_HINT}\n`)
      shown[current()] = { text: 'stopping', below: new Map([['step', STOP_HINT]]) }
      redraw(current())
    },
    async finish(outcome) {
      await close(outcome)
      for (const line of notices) stream.write(`${line}\n`)
    },
  }
}

/** What fits the terminal now: it can change its size. */
export function lookOf(stream: NodeJS.WriteStream, inColour: boolean): () => Look {
  const unicode = showsUnicode(process.env)
  return () => {
    // listr2 cuts lines at the width of standard output, which need not be a terminal.
    const columns = Math.min(stream.columns || 80, process.stdout.columns || 80)
    return { width: Math.max(1, columns - MARGIN), inColour, unicode }
  }
}
