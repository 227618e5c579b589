import { Fault, fault } from '../core/diagnostics.js'
import { counted, formatCount } from '../core/words.js'

export const interrupted = (): Fault => fault('interrupted', 'interrupted', undefined, 130)

const DOWNLOADED = 'downloaded parts are kept'

/** An interruption during a download. What was downloaded is used next time. */
export const interruptedDownload = (): Fault => fault('interrupted', `interrupted: ${DOWNLOADED}`, undefined, 130)

/** Throws `interrupted`, with exit code 130, if the signal is aborted. */
export function refuseInterrupted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw interrupted()
}

/** What an interrupted run leaves. */
export interface Left {
  readonly complete: number
  readonly outputs: number
  /** Whether unfinished work is kept for a resume. */
  readonly resume: boolean
}

/** An error of a run that was interrupted says what is left; any other error is unchanged. */
export function withLeft(
  error: unknown,
  signal: AbortSignal | undefined,
  { complete, outputs, resume }: Left,
): unknown {
  const { name } = error as Error
  const ended =
    error instanceof Fault ? error.diagnostics.every(({ code }) => code === 'interrupted') : name === 'AbortError'
  if (!signal?.aborted || !ended) return error
  const downloads = error instanceof Fault && error.message.endsWith(DOWNLOADED) ? `, ${DOWNLOADED}` : ''
  const published = complete > 0 ? `${formatCount(complete)} of ${counted(outputs, 'output')} complete` : ''
  if (resume) {
    const kept = 'finished work is kept'
    const message = `interrupted: ${published === '' ? kept : `${published}, and ${kept}`}${downloads}`
    return fault('interrupted', message, 'run again with --resume', 130)
  }
  const left = published === '' ? 'no output was written' : published
  return fault('interrupted', `interrupted: ${left}${downloads}`, undefined, 130)
}
