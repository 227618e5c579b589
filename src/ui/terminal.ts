import {
  type DefaultRenderer,
  Listr,
  type ListrDefaultRendererLogLevels,
  ListrLogger,
  type ListrTaskWrapper,
  ProcessOutput,
} from 'listr2'
import type { RunEvent } from '../index.js'
import { barLines, ending, type Look, shortened, showsUnicode } from './bar.js'
import { startLine } from './plain.js'
import { diagnosticText, showsColours } from './problems.js'
import { formatProgress, meter, type Progress, stepMeter } from './progress.js'
import { formatSeconds, printable } from './text.js'
import { type Phases, type Renderer, STOP_HINT } from './types.js'

type Task = ListrTaskWrapper<unknown, typeof DefaultRenderer, typeof DefaultRenderer>

/** Positions of phases. A command without a run has only the first. */
const [FIRST, MERGING, PUBLISHING] = [0, 1, 2] as const

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
  const running: Task[] = []
  const gates = phases.map(gate)
  let current: number = FIRST
  let picture: Promise<unknown> | undefined

  const inColour = showsColours(stream, process.env)
  const unicode = showsUnicode(process.env)
  const look = (): Look => {
    // listr2 cuts lines at the width of standard output, which need not be a terminal.
    const columns = Math.min(stream.columns || 80, process.stdout.columns || 80)
    return { width: Math.max(1, columns - MARGIN), inColour, unicode }
  }
  let over = false
  const redraw = (phase: number): void => {
    const task = running[phase]
    const text = over || phase < current ? lastLine : lines
    if (task) task.title = text(phases[phase]!, shown[phase]!, look())
  }
  const reach = (phase: number): void => {
    current = phase
    for (let earlier = 0; earlier < phase; earlier++) redraw(earlier)
    for (const earlier of gates.slice(0, phase)) earlier.open()
  }
  /** Begins to draw at the first event about work: commands that only check something show no phases. */
  const draw = (): void => {
    if (picture) return
    process.once('exit', showCursor)
    // The command itself reports a failure.
    picture = drawn(stream, phases, (phase, task) => {
      running[phase] = task
      redraw(phase)
      return gates[phase]!.passed
    }).catch(() => {})
  }

  // If the process exits at once, listr2 still captures the stream and hides the cursor: write around it.
  const write = stream.write.bind(stream)
  const showCursor = (): void => void write('\u001b[?25h')

  const notices: string[] = []
  const say = (phase: number, text: string): void => {
    shown[phase]!.text = text
    redraw(phase)
  }
  const step = (event: Extract<RunEvent, { kind: 'step' }>): void => {
    const { below } = shown[current]!
    const far = progressOfStep(event)
    // The bar of a merge is that of all its bytes.
    if (far && current !== MERGING) shown[current]!.progress = far
    below.set('step', `${printable(event.step)}: ${printable(event.text)}`)
    if (event.similarity === undefined) below.delete('similarity')
    else below.set('similarity', `similarity ${event.similarity.toFixed(4)}`)
    redraw(current)
  }
  let stopping = false
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
        delete shown[MERGING]!.text
        shown[MERGING]!.progress = progress(event)
        if (event.tensor !== undefined) shown[MERGING]!.below.set('tensor', printable(event.tensor))
        redraw(MERGING)
        break
      case 'step':
        draw()
        step(event)
        break
      case 'phase':
        draw()
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
      for (const phase of phases.keys()) {
        delete shown[phase]!.progress
        shown[phase]!.below.clear()
      }
      if (picture) {
        shown[current]!.below.set('step', STOP_HINT)
        say(current, 'stopping')
      } else stream.write(`stopping; ${STOP_HINT}\n`)
    },
    async finish(outcome) {
      over = true
      redraw(current)
      for (const [i, each] of gates.entries()) {
        if (outcome === 'done' || i < current) each.open()
        else each.shut(new Error(titled(phases[current]!, 'stopped')))
      }
      await picture
      process.off('exit', showCursor)
      for (const line of notices) stream.write(`${line}\n`)
    },
  }
}

/** Draws the phases until all have finished or one has failed. */
function drawn(
  stream: NodeJS.WriteStream,
  phases: Phases,
  begin: (phase: number, task: Task) => Promise<void>,
): Promise<unknown> {
  // Standard output is for results, so listr2's "standard output" is the stream of progress here. Its other stream must be a
  // different one, because listr2 captures both while it draws.
  const processOutput = new ProcessOutput(stream, stream === process.stderr ? process.stdout : process.stderr)
  const logger = new ListrLogger<ListrDefaultRendererLogLevels>({ processOutput, useIcons: true, toStderr: [] })
  const rendererOptions = { logger, formatOutput: 'truncate' } as const
  return new Listr<unknown, 'default', 'default'>(
    phases.map((name, phase) => ({ title: name, task: (_context, task) => begin(phase, task) })),
    {
      renderer: 'default',
      fallbackRenderer: 'default',
      // The command decides what Ctrl-C does.
      registerSignalListeners: false,
      rendererOptions,
      // listr2 asks whether standard output is a terminal, which it need not be here.
      fallbackRendererOptions: rendererOptions,
    },
  ).run()
}

/** A promise with the functions that settle it. */
function gate(): { passed: Promise<void>; open: () => void; shut: (why: Error) => void } {
  let open = (): void => {}
  let shut = (_why: Error): void => {}
  const passed = new Promise<void>((resolve, reject) => {
    open = resolve
    shut = reject
  })
  // Nobody awaits the gates after a failed one.
  passed.catch(() => {})
  return { passed, open, shut }
}
