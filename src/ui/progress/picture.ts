/** Phases on a terminal: one line each, and those of the current one below it, redrawn in place. */
import {
  type DefaultRenderer,
  Listr,
  type ListrDefaultRendererLogLevels,
  ListrLogger,
  type ListrTaskWrapper,
  ProcessOutput,
} from 'listr2'
import type { Phases } from './types.js'

type Task = ListrTaskWrapper<unknown, typeof DefaultRenderer, typeof DefaultRenderer>

export interface Picture {
  /** The phase that runs. */
  readonly current: () => number
  /** Begins to draw, if it has not begun. */
  readonly draw: () => void
  /** Whether it has begun. */
  readonly drawn: () => boolean
  readonly redraw: (phase: number) => void
  /** A phase begins: those before it are over. */
  readonly reach: (phase: number) => void
  /** Draws for the last time. */
  readonly close: (outcome: 'done' | 'failed') => Promise<void>
}

/** `text`: the lines of a phase. `over`: the phase has ended. */
export function picture(
  stream: NodeJS.WriteStream,
  phases: Phases,
  text: (phase: number, over: boolean) => string,
): Picture {
  const running: Task[] = []
  const gates = phases.map(gate)
  let current = 0
  let over = false
  let shown: Promise<unknown> | undefined
  // If the process exits at once, listr2 still captures the stream and hides the cursor: write around it.
  const write = stream.write.bind(stream)
  const showCursor = (): void => void write('\u001b[?25h')
  const redraw = (phase: number): void => {
    const task = running[phase]
    if (task) task.title = text(phase, over || phase < current)
  }
  return {
    current: () => current,
    drawn: () => shown !== undefined,
    draw() {
      if (shown) return
      process.once('exit', showCursor)
      // The command itself reports a failure.
      shown = drawPhases(stream, phases, (phase, task) => {
        running[phase] = task
        redraw(phase)
        return gates[phase]!.passed
      }).catch(() => {})
    },
    redraw,
    reach(phase) {
      current = phase
      for (let earlier = 0; earlier < phase; earlier++) redraw(earlier)
      for (const earlier of gates.slice(0, phase)) earlier.open()
    },
    async close(outcome) {
      over = true
      redraw(current)
      for (const [i, each] of gates.entries()) {
        if (outcome === 'done' || i < current) each.open()
        else each.shut(new Error(`${phases[current]}: stopped`))
      }
      await shown
      process.off('exit', showCursor)
    },
  }
}

/** Draws the phases until all have finished or one has failed. */
function drawPhases(
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
