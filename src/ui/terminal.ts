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
import type { Renderer } from './types.js'

const PHASES = ['preparing', 'merging', 'publishing'] as const
type Phase = (typeof PHASES)[number]
type Task = ListrTaskWrapper<unknown, typeof DefaultRenderer, typeof DefaultRenderer>

/** A phase's name with its text, shown while the phase runs and after it. */
const titled = (phase: Phase, text = ''): string => (text === '' ? phase : `${phase}: ${text}`)

/** Shows a run on a terminal: one line per phase, redrawn in place, the current one with rate and time left. `now` in seconds. */
export function terminalRenderer(stream: NodeJS.WriteStream, now: () => number): Renderer {
  const { start, progress } = meter(now)
  const text: Partial<Record<Phase, string>> = {}
  const running: Partial<Record<Phase, Task>> = {}
  const gates = PHASES.map(gate)
  let current: Phase = 'preparing'
  let shown: Promise<unknown> | undefined

  const say = (phase: Phase, line: string): void => {
    text[phase] = line
    const task = running[phase]
    if (task) task.title = titled(phase, line)
  }
  const reach = (phase: Phase): void => {
    current = phase
    for (const earlier of gates.slice(0, PHASES.indexOf(phase))) earlier.open()
  }
  /** Begins to draw at the first event about work: commands that only check something show no phases. */
  const draw = (): void => {
    if (shown) return
    process.once('exit', showCursor)
    // The command itself reports a failure.
    shown = picture(stream, (phase, task) => {
      running[phase] = task
      say(phase, text[phase] ?? '')
      return gates[PHASES.indexOf(phase)]!.passed
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
        say('merging', startLine(event).replace(/^merging /, ''))
        break
      case 'progress':
        say('merging', formatProgress(progress(event)))
        break
      case 'step':
        draw()
        say(current, stepLine(event))
        break
      case 'phase':
        draw()
        reach(event.phase === 'flushing' ? 'publishing' : event.phase)
        if (event.phase === 'flushing') say('publishing', 'fsync')
        break
      case 'notice':
        notices.push(`note: ${printable(event.message)}`)
        break
      case 'warning':
        notices.push(diagnosticText(event.diagnostic, showsColours(stream, process.env)))
        break
      case 'end':
        say('publishing', `done in ${formatSeconds(event.seconds)}`)
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
        if (outcome === 'done' || i < PHASES.indexOf(current)) each.open()
        else each.shut(new Error(titled(current, 'stopped')))
      }
      await shown
      process.off('exit', showCursor)
      for (const line of notices) stream.write(`${line}\n`)
    },
  }
}

/** Draws the phases until all have finished or one has failed. */
function picture(stream: NodeJS.WriteStream, begin: (phase: Phase, task: Task) => Promise<void>): Promise<unknown> {
  // Standard output is for results, so listr2's "standard output" is the stream of progress here. Its other stream must be a
  // different one, because listr2 captures both while it draws.
  const processOutput = new ProcessOutput(stream, stream === process.stderr ? process.stdout : process.stderr)
  const logger = new ListrLogger<ListrDefaultRendererLogLevels>({ processOutput, useIcons: true, toStderr: [] })
  const rendererOptions = { logger, formatOutput: 'truncate' } as const
  return new Listr<unknown, 'default', 'default'>(
    PHASES.map((phase) => ({ title: phase, task: (_context, task) => begin(phase, task) })),
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
