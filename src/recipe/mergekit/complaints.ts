/** Collects the errors and warnings of a mergekit configuration, with places in the user's file. */
import type { ErrorCode } from '../../core/codes.js'
import type { Diagnostic } from '../../core/diagnostics.js'
import { type Span, spanPlace } from '../../language/tree.js'

export interface Complaints {
  readonly list: Diagnostic[]
  /** Whether something can't be converted. Ignored settings do not count, even if `strict` makes them errors. */
  readonly broken: () => boolean
  readonly error: (code: ErrorCode, message: string, at: Span, hint?: string) => void
  readonly warn: (code: ErrorCode, message: string, at: Span, hint?: string) => void
  /** For settings that mergekit silently ignores: a warning, or an error with `strict`. */
  readonly ignored: (code: ErrorCode, message: string, at: Span, hint?: string) => void
}

export function makeComplaints(strict: boolean): Complaints {
  const list: Diagnostic[] = []
  let broken = false
  const seen = new Set<string>()
  const add =
    (severity: Diagnostic['severity']) =>
    (code: ErrorCode, message: string, at: Span, hint?: string): void => {
      const key = `${code}\0${message}\0${at.start}`
      if (seen.has(key)) return
      seen.add(key)
      list.push({ severity, code, message, place: spanPlace(at), ...(hint === undefined ? {} : { hint }) })
    }
  const error = add('error')
  return {
    list,
    broken: () => broken,
    error: (...args) => {
      broken = true
      error(...args)
    },
    warn: add('warning'),
    ignored: strict ? error : add('warning'),
  }
}
