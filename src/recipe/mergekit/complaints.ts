/** What is to be said of a mergekit configuration, each at its place in the user's own file. */
import type { Diagnostic } from '../../core/diagnostics.js'
import { type Span, spanPlace } from '../tree.js'

export interface Complaints {
  readonly list: Diagnostic[]
  readonly error: (code: string, message: string, at: Span, hint?: string) => void
  readonly warn: (code: string, message: string, at: Span, hint?: string) => void
  /** Of something that mergekit passes over in silence: a warning, and a fault where the user asked for strictness. */
  readonly ignored: (code: string, message: string, at: Span, hint?: string) => void
}

export function makeComplaints(strict: boolean): Complaints {
  const list: Diagnostic[] = []
  const seen = new Set<string>()
  const add =
    (severity: Diagnostic['severity']) =>
    (code: string, message: string, at: Span, hint?: string): void => {
      const key = `${code}\0${message}\0${at.start}`
      if (seen.has(key)) return
      seen.add(key)
      list.push({ severity, code, message, place: spanPlace(at), ...(hint === undefined ? {} : { hint }) })
    }
  return { list, error: add('error'), warn: add('warning'), ignored: add(strict ? 'error' : 'warning') }
}
