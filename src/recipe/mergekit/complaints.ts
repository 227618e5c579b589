/** What is to be said of a mergekit configuration, each at its place in the user's own file. */
import type { ErrorCode } from '../../core/codes.js'
import type { Diagnostic } from '../../core/diagnostics.js'
import { type Span, spanPlace } from '../../language/tree.js'

export interface Complaints {
  readonly list: Diagnostic[]
  /** There is something that can't be converted. What is only ignored is no such thing, not even where it is an error. */
  readonly broken: () => boolean
  readonly error: (code: ErrorCode, message: string, at: Span, hint?: string) => void
  readonly warn: (code: ErrorCode, message: string, at: Span, hint?: string) => void
  /** Of something that mergekit passes over in silence: a warning, and a fault where the user asked for strictness. */
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
