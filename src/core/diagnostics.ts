/**
 * The user's faults, as values. They are collected and shown together; only when work cannot go on at all do they
 * travel as a thrown `Fault`. terge's own faults are plain errors whose message starts with `internal:`.
 */
import type { ErrorCode } from './codes.js'

/** A place in a recipe's text. */
export interface Place {
  /** As the user named the file. */
  readonly file: string
  /** From 1. */
  readonly line: number
  /** From 1, in characters. */
  readonly column: number
  /** Characters under the caret, at least 1. */
  readonly length: number
  /** The whole source line, without its line break. */
  readonly text: string
}

/** An error or a warning as a value: what is wrong, where, and what may help. */
export interface Diagnostic {
  readonly severity: 'error' | 'warning'
  /** One of a closed set. */
  readonly code: ErrorCode
  readonly message: string
  /** Where in a recipe. Absent for faults of the command line or of the disk. */
  readonly place?: Place
  /** The way out, one line. */
  readonly hint?: string
}

/** 2: found before anything was executed. 1: while executing. 130: interrupted. */
export type ExitCode = 1 | 2 | 130

/** What is thrown for errors that the user can mend: its diagnostics, and the exit code that the command ends with. */
export class Fault extends Error {
  override readonly name = 'Fault'
  constructor(
    readonly diagnostics: readonly Diagnostic[],
    readonly exit: ExitCode = 2,
  ) {
    super(diagnostics.map((diagnostic) => diagnostic.message).join('\n'))
  }
}

/** A fault of one message without a place in a recipe. */
export const fault = (code: ErrorCode, message: string, hint?: string, exit: ExitCode = 2): Fault =>
  new Fault([{ severity: 'error', code, message, ...(hint === undefined ? {} : { hint }) }], exit)

/** `FILE:LINE:COLUMN: error CODE: message`, the source line, a caret, and the hint. */
export function formatDiagnostic(diagnostic: Diagnostic): string {
  const { severity, code, message, place, hint } = diagnostic
  const lines: string[] = []
  if (place) {
    lines.push(`${place.file}:${place.line}:${place.column}: ${severity} ${code}: ${message}`)
    // Tabs stay tabs under the source line, so that the caret stands in the right column whatever their width.
    const lead = place.text.slice(0, place.column - 1).replace(/[^\t]/g, ' ')
    const room = Math.max(1, Math.min(place.length, place.text.length - place.column + 1))
    lines.push(`  ${place.text}`, `  ${lead}${'^'.repeat(room)}`)
  } else lines.push(`${severity} ${code}: ${message}`)
  if (hint !== undefined) lines.push(`  hint: ${hint}`)
  return lines.join('\n')
}

export const hasErrors = (diagnostics: readonly Diagnostic[]): boolean =>
  diagnostics.some((diagnostic) => diagnostic.severity === 'error')
