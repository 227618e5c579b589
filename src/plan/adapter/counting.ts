import type { ErrorCode } from '../../core/codes.js'
import type { Place } from '../../core/diagnostics.js'
import type { Faults } from '../../language/faults.js'
import type { Complain } from './config.js'

export interface Counting extends Complain {
  /** Whether an error of this kind would only be counted. */
  heard(code: ErrorCode): boolean
  /** Tells them. */
  close(): void
}

type Tell = Complain['error']

/**
 * Faults of one adapter, told at a place under its name. One for another base has the same fault in every module: the first of a
 * kind is told, and how many there are.
 */
export function counting(faults: Faults, name: string, place: Place | undefined): Counting {
  const errors = collected((code, message, hint) => faults.error(code, `${name}: ${message}`, place, hint))
  const warnings = collected((code, message, hint) => faults.warn(code, `${name}: ${message}`, place, hint))
  return {
    error: errors.add,
    warn: warnings.add,
    heard: errors.has,
    close() {
      errors.tell()
      warnings.tell()
    },
  }
}

function collected(tell: Tell) {
  const told = new Map<ErrorCode, { readonly message: string; readonly hint: string | undefined; more: number }>()
  return {
    has: (code: ErrorCode): boolean => told.has(code),
    add(code: ErrorCode, message: string, hint?: string): void {
      const known = told.get(code)
      if (known) known.more++
      else told.set(code, { message, hint, more: 0 })
    },
    tell() {
      for (const [code, { message, hint, more }] of told)
        tell(code, more > 0 ? `${message} (and ${more} more)` : message, hint)
    },
  }
}
