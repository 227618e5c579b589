import type { Diagnostic } from '../core/diagnostics.js'
import { counted } from '../core/words.js'
import { printable, printableText } from './text.js'

/** In the data of a workflow command of GitHub only these three would end or change it. */
const data = (text: string): string => text.replace(/[%\r\n]/g, (mark) => encodeURIComponent(mark))
const property = (text: string): string => text.replace(/[%\r\n:,]/g, (mark) => encodeURIComponent(mark))

/** A problem as GitHub shows it beside the line: `::error file=…,line=…,col=…,title=…::message`. */
export function githubAnnotation({ severity, code, message, place, hint }: Diagnostic, file: string): string {
  const where = place
    ? {
        file: place.file,
        line: place.line,
        endLine: place.line,
        col: place.column,
        endColumn: place.column + place.length,
      }
    : { file }
  const properties = Object.entries({ ...where, title: `terge ${code}` })
    .map(([key, value]) => `${key}=${property(printable(String(value)))}`)
    .join(',')
  const text = hint === undefined ? message : `${message}\nhint: ${hint}`
  return `::${severity} ${properties}::${printableText(data(text))}`
}

/** `recipe.yml: valid`, `recipe.yml: 2 errors, 1 warning`. */
export function verdict(file: string, diagnostics: readonly Diagnostic[]): string {
  const errors = diagnostics.filter(({ severity }) => severity === 'error').length
  const warnings = diagnostics.length - errors
  const parts = [errors > 0 ? counted(errors, 'error') : 'valid']
  if (warnings > 0) parts.push(counted(warnings, 'warning'))
  return `${printable(file)}: ${parts.join(', ')}`
}
