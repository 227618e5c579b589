/** Diagnostics for people and for GitHub workflows. */

import { type Diagnostic, formatDiagnostic } from '../core/diagnostics.js'
import { counted } from '../core/words.js'
import { printable, printableText } from './text.js'

/** GitHub's workflow commands end at, or change with, only these three characters in their data. */
const data = (text: string): string => text.replace(/[%\r\n]/g, (mark) => encodeURIComponent(mark))
const property = (text: string): string => text.replace(/[%\r\n:,]/g, (mark) => encodeURIComponent(mark))

/** Bold red, yellow and cyan of a terminal, and their end. */
const COLOURS = { error: '\u001b[1;31m', warning: '\u001b[1;33m', hint: '\u001b[1;36m' } as const
const END = '\u001b[0m'

/** Whether to colour what is written to a stream: on a terminal, unless `NO_COLOR` is set, or anywhere with `FORCE_COLOR`. */
export function showsColours(stream: { readonly isTTY?: boolean }, env: NodeJS.ProcessEnv): boolean {
  if (env.NO_COLOR) return false
  if (env.FORCE_COLOR !== undefined) return env.FORCE_COLOR !== '0'
  return stream.isTTY === true && env.TERM !== 'dumb'
}

/** A diagnostic as text for people, safe to print: severity and code, the caret and the word `hint` in colour if asked for. */
export function diagnosticText(diagnostic: Diagnostic, inColour: boolean, width = Number.POSITIVE_INFINITY): string {
  const { severity, code, place, hint } = diagnostic
  // Whoever pressed Ctrl-C knows why the command ended.
  if (code === 'interrupted') return interruptedText(diagnostic, width)
  const text = printableText(formatDiagnostic(diagnostic))
  if (!inColour) return text
  const paint = (line: string, start: number, length: number, colour: keyof typeof COLOURS): string =>
    `${line.slice(0, start)}${COLOURS[colour]}${line.slice(start, start + length)}${END}${line.slice(start + length)}`
  const lines = text.split('\n')
  const where = place ? printableText(`${place.file}:${place.line}:${place.column}: `).length : 0
  lines[0] = paint(lines[0]!, where, severity.length + 1 + code.length, severity)
  const hintLines = hint === undefined ? 0 : hint.split('\n').length
  if (place) {
    const caret = lines.length - hintLines - 1
    const start = lines[caret]!.indexOf('^')
    lines[caret] = paint(lines[caret]!, start, lines[caret]!.length - start, severity)
  }
  if (hint !== undefined) lines[lines.length - hintLines] = paint(lines[lines.length - hintLines]!, 2, 4, 'hint')
  return lines.join('\n')
}

/** One line, or a line for what happened and one for the way to continue: the terminal must not break a command. */
function interruptedText({ message, hint }: Diagnostic, width: number): string {
  const line = printableText(hint === undefined ? message : `${message}; ${hint}`)
  return line.length <= width || hint === undefined ? line : printableText(`${message}\n${hint}`)
}

/** A diagnostic as GitHub shows it next to the line: `::error file=…,line=…,col=…,title=…::message`. */
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
