import {
  type DefaultRenderer,
  Listr,
  type ListrDefaultRendererLogLevels,
  ListrLogger,
  type ListrTaskWrapper,
  ProcessOutput,
} from 'listr2'
import { formatDiagnostic } from '../core/diagnostics.js'
import type { RunEvent } from '../index.js'
import { startLine, stepLine } from './plain.js'
import { formatProgress, meter } from './progress.js'
import { formatSeconds, printable, printableText } from './text.js'
import type { Renderer } from './types.js'

const PHASES = ['preparing', 'merging', 'publishing'] as const
type Phase = (typeof PHASES)[number]
type Task = ListrTaskWrapper<unknown, typeof DefaultRenderer, typeof DefaultRenderer>

/** What a task says beside its phase's name; shown while it runs and after. */
const titled = (phase: Phase, text = ''): string => (text === '' ? phase : `${phase}: ${text}`)

/** A living picture on a terminal: one line a phase, the current one with rate and time left. */
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
  /** Drawn from the first event that tells of work: what only checks something shows no phases. */
  const draw = (): void => {
    // A failure is told by the command itself, once.
    if (shown) return
    process.once('exit', showCursor)
    shown = picture(stream, (phase, task) => {
      running[phase] = task
      say(phase, text[phase] ?? '')
      return gates[PHASES.indexOf(phase)]!.passed
    }).catch(() => {})
  }

  // An end at once finds the stream still held back by the picture, and its cursor hidden.
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
        if (event.phase === 'flushing') say('publishing', 'flushing to the disk')
        break
      case 'notice':
        notices.push(`note: ${printable(event.message)}`)
        break
      case 'warning':
        notices.push(printableText(formatDiagnostic(event.diagnostic)))
        break
      case 'end':
        say('publishing', `done in ${formatSeconds(event.seconds)}`)
        break
      // What was written is the command's result, for standard output.
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

/** Draws the phases until all have passed or one has failed. */
function picture(stream: NodeJS.WriteStream, begin: (phase: Phase, task: Task) => Promise<void>): Promise<unknown> {
  // Results belong to standard output: listr2's "standard output" is the stream of progress here. The other of the two
  // must be a different stream, since both are held back while the picture lives.
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

/** A promise that others settle. */
function gate(): { passed: Promise<void>; open: () => void; shut: (why: Error) => void } {
  let open = (): void => {}
  let shut = (_why: Error): void => {}
  const passed = new Promise<void>((resolve, reject) => {
    open = resolve
    shut = reject
  })
  // Gates behind a failed one are never waited for.
  passed.catch(() => {})
  return { passed, open, shut }
}
