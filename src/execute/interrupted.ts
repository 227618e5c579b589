import { Fault } from '../core/diagnostics.js'

export const interrupted = (): Fault =>
  new Fault([{ severity: 'error', code: 'interrupted', message: 'interrupted' }], 130)

/** Throws `interrupted`, with exit code 130, if the signal is aborted. */
export function refuseInterrupted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw interrupted()
}
