import type { ErrorCode } from '../core/codes.js'
import { type Diagnostic, Fault, type Place } from '../core/diagnostics.js'

/** Collects the errors and warnings of planning. Each is reported once per place. */
export interface Faults {
  readonly list: Diagnostic[]
  /** `about`: the subject, if one place can have the same error for several subjects. */
  error: (code: ErrorCode, message: string, place?: Place, hint?: string, about?: string) => void
  warn: (code: ErrorCode, message: string, place?: Place, hint?: string, about?: string) => void
}

/** `unsaid`: codes of warnings that do not apply, such as for a converted recipe. */
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

/**
 * Reports the errors of a `Fault`, at their own place or this one, and throws everything else again. `before`: what their messages begin
 * with. `instead`: another way out.
 */
export function reportFault(
  faults: Faults,
  error: unknown,
  place: Place,
  { before = '', instead }: { readonly before?: string; readonly instead?: string } = {},
): undefined {
  if (!(error instanceof Fault)) throw error
  for (const { code, message, hint, place: own } of error.diagnostics) {
    const ways = [hint, instead].filter((way) => way !== undefined)
    faults.error(code, `${before}${message}`, own ?? place, ways.length > 0 ? ways.join('; or ') : undefined)
  }
}
