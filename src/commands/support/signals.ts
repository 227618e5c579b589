import { type ExitCode, Fault, fault } from '../../core/diagnostics.js'

/** Signals that ask a program to end: Ctrl-C, kill, a closed terminal or connection, and Ctrl-Break on Windows. */
export const signalsOf = (platform = process.platform): readonly NodeJS.Signals[] => [
  ...(['SIGINT', 'SIGTERM', 'SIGHUP'] as const),
  ...(platform === 'win32' ? (['SIGBREAK'] as const) : []),
]

/** Whether a command was interrupted. Schedulers recognize what SIGTERM ended by its exit code. */
export const isInterruption = (exit: ExitCode): boolean => exit === 130 || exit === 143

const exitOf = (signal: NodeJS.Signals): ExitCode => (signal === 'SIGTERM' ? 143 : 130)

/**
 * Runs work that signals can interrupt. The first signal aborts the work, which then cleans up. The second one ends the process at
 * once. The exit code is 143 after SIGTERM, and 130 after other signals. `stopping`: says that the work stops.
 */
export async function interruptible<T>(work: (signal: AbortSignal) => Promise<T>, stopping: () => void): Promise<T> {
  const controller = new AbortController()
  let first: NodeJS.Signals | undefined
  const onSignal = (signal: NodeJS.Signals): void => {
    if (controller.signal.aborted) process.exit(exitOf(signal))
    first = signal
    stopping()
    controller.abort()
  }
  const signals = signalsOf()
  for (const signal of signals) process.on(signal, onSignal)
  try {
    return await work(controller.signal)
  } catch (error) {
    throw first === undefined ? error : endedBy(first, error)
  } finally {
    for (const signal of signals) process.off(signal, onSignal)
  }
}

/** The error of an interrupted command with the exit code of its signal. */
function endedBy(signal: NodeJS.Signals, error: unknown): unknown {
  const exit = exitOf(signal)
  if (error instanceof Fault) return error.exit === 130 ? new Fault(error.diagnostics, exit) : error
  return (error as Error).name === 'AbortError' ? fault('interrupted', 'interrupted', undefined, exit) : error
}
