/** Signals that ask a program to end: Ctrl-C, kill, a closed terminal or connection, and Ctrl-Break on Windows. */
const SIGNALS: readonly NodeJS.Signals[] = [
  'SIGINT',
  'SIGTERM',
  'SIGHUP',
  ...(process.platform === 'win32' ? (['SIGBREAK'] as const) : []),
]

/**
 * Runs work that signals can interrupt. The first signal aborts the work, which then cleans up. The second one ends the process at
 * once with exit code 130. `stopping`: says that the work stops.
 */
export async function interruptible<T>(work: (signal: AbortSignal) => Promise<T>, stopping: () => void): Promise<T> {
  const controller = new AbortController()
  const onSignal = (): void => {
    if (controller.signal.aborted) process.exit(130)
    stopping()
    controller.abort()
  }
  for (const signal of SIGNALS) process.on(signal, onSignal)
  try {
    return await work(controller.signal)
  } finally {
    for (const signal of SIGNALS) process.off(signal, onSignal)
  }
}
