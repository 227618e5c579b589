import {
  type DefaultRenderer,
  Listr,
  type ListrDefaultRendererLogLevels,
  ListrLogger,
  type ListrTaskWrapper,
  ProcessOutput,
} from 'listr2'
import type { RunEvent } from '../index.js'
import { startLine, stepLine } from './plain.js'
import { diagnosticText, showsColours } from './problems.js'
import { formatProgress, meter } from './progress.js'
import { formatSeconds, printable } from './text.js'
import type { Phases, Renderer } from './types.js'

type Task = ListrTaskWrapper<unknown, typeof DefaultRenderer, typeof DefaultRenderer>

/** Positions of phases. A command without a run has only the first. */
const [FIRST, MERGING, PUBLISHING] = [0, 1, 2] as const

/** A phase's name with its text, shown while the phase runs and after it. */
const titled = (name: string, text = ''): string => (text === '' ? name : `${name}: ${text}`)

/** Shows work on a terminal: one line per phase, redrawn in place, the current one with rate and time left. `now` in seconds. */
export function terminalRenderer(stream: NodeJS.WriteStream, now: () => number, phases: Phases): Renderer {
  const { start, progress } = meter(now)
  const text: string[] = []
  const running: Task[] = []
  const gates = phases.map(gate)
  let current: number = FIRST
  let shown: Promise<unknown> | undefined

  const say = (phase: number, line: string): void => {
    text[phase] = line
    const task = running[phase]
    if (task) task.title = titled(phases[phase]!, line)
  }
  const reach = (phase: number): void => {
    current = phase
    for (const earlier of gates.slice(0, phase)) earlier.open()
  }
  /** Begins to draw at the first event about work: commands that only check something show no phases. */
  const draw = (): void => {
    if (shown) return
    process.once('exit', showCursor)
    // The command itself reports a failure.
    shown = picture(stream, phases, (phase, task) => {
      running[phase] = task
      say(phase, text[phase] ?? '')
      return gates[phase]!.passed
    }).catch(() => {})
  }

  // If the process exits at once, listr2 still captures the stream and hides the cursor: write around it.
  const write = stream.write.bind(stream)
  const showCursor = (): void => void write('\u001b[?25h')

  const notices: string[] = []
  const listen = (event: RunEvent): void => {
    switch (event.kind) {
      case 'start':
        draw()
        start(event)
        say(MERGING, startLine(event).replace(/^merging /, ''))
        break
      case 'progress':
        say(MERGING, formatProgress(progress(event)))
        break
      case 'step':
        draw()
        say(current, stepLine(event))
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
        notices.push(diagnosticText(event.diagnostic, showsColours(stream, process.env)))
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
    async finish(outcome) {
      for (const [i, each] of gates.entries()) {
        if (outcome === 'done' || i < current) each.open()
        else each.shut(new Error(titled(phases[current]!, 'stopped')))
      }
      await shown
      process.off('exit', showCursor)
      for (const line of notices) stream.write(`${line}\n`)
    },
  }
}

/** Draws the phases until all have finished or one has failed. */
function picture(
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
