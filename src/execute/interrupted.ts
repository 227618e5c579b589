import { Fault } from '../core/diagnostics.js'

export const interrupted = (): Fault =>
  new Fault([{ severity: 'error', code: 'interrupted', message: 'interrupted' }], 130)

/** Fault `interrupted`, exit 130, where the signal has come. */
export function refuseInterrupted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw interrupted()
}
