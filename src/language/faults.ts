import type { ErrorCode } from '../core/codes.js'
import type { Diagnostic, Place } from '../core/diagnostics.js'

/** Collects the faults of planning; the same fault at the same place is told once. */
export interface Faults {
  readonly list: Diagnostic[]
  /** `about`: whom, where the same may be told of several at one place. */
  error: (code: ErrorCode, message: string, place?: Place, hint?: string, about?: string) => void
  warn: (code: ErrorCode, message: string, place?: Place, hint?: string, about?: string) => void
}

/** `unsaid`: codes of warnings that have no meaning where the recipe was made from something else. */
export function faults(unsaid: readonly string[] = []): Faults {
  const list: Diagnostic[] = []
  const seen = new Set<string>()
  const add =
    (severity: Diagnostic['severity']) =>
    (code: ErrorCode, message: string, place?: Place, hint?: string, about = ''): void => {
      const key = [code, place?.file, place?.line, place?.column, place ? about : message].join('\0')
      if (seen.has(key) || (severity === 'warning' && unsaid.includes(code))) return
      seen.add(key)
      list.push({ severity, code, message, ...(place ? { place } : {}), ...(hint === undefined ? {} : { hint }) })
    }
  return { list, error: add('error'), warn: add('warning') }
}
