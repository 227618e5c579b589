import type { Reporter } from '../../adapters/types.js'
import type { ErrorCode } from '../../core/codes.js'
import type { Place } from '../../core/diagnostics.js'
import type { Faults } from '../../language/faults.js'

export interface CountingReporter extends Reporter {
  /** Whether an error with this code was reported already, so that another is only counted. */
  hasReported(code: ErrorCode): boolean
  /** Passes the collected errors and warnings on. */
  close(): void
}

type Report = Reporter['error']

/**
 * Collects errors and warnings about one adapter. An adapter for another base has the same error in every module, so
 * only the first of each code is reported, with the number of others.
 */
export function counting(faults: Faults, name: string, place: Place | undefined): CountingReporter {
  const errors = collected((code, message, hint) => faults.error(code, `${name}: ${message}`, place, hint))
  const warnings = collected((code, message, hint) => faults.warn(code, `${name}: ${message}`, place, hint))
  return {
    error: errors.add,
    warn: warnings.add,
    hasReported: errors.has,
    close() {
      errors.report()
      warnings.report()
    },
  }
}

function collected(report: Report) {
  const first = new Map<ErrorCode, { readonly message: string; readonly hint: string | undefined; more: number }>()
  return {
    has: (code: ErrorCode): boolean => first.has(code),
    add(code: ErrorCode, message: string, hint?: string): void {
      const known = first.get(code)
      if (known) known.more++
      else first.set(code, { message, hint, more: 0 })
    },
    report() {
      for (const [code, { message, hint, more }] of first)
        report(code, more > 0 ? `${message} (and ${more} more)` : message, hint)
    },
  }
}
