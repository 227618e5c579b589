/** Signals that ask a program to end: Ctrl-C, kill, a closed terminal or connection, and Ctrl-Break on Windows. */
export const signalsOf = (platform = process.platform): readonly NodeJS.Signals[] => [
  ...(['SIGINT', 'SIGTERM', 'SIGHUP'] as const),
  ...(platform === 'win32' ? (['SIGBREAK'] as const) : []),
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
  const signals = signalsOf()
  for (const signal of signals) process.on(signal, onSignal)
  try {
    return await work(controller.signal)
  } finally {
    for (const signal of signals) process.off(signal, onSignal)
  }
}
