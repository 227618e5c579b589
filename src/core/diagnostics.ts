/**
 * Errors and warnings for the user, as values. They are collected and shown together. A `Fault` with them is thrown
 * only if work cannot continue. Internal errors of terge are plain errors whose message starts with `internal:`.
 */
import type { ErrorCode } from './codes.js'

/** A place in the text of a recipe. */
export interface Place {
  /** As the user named the file. */
  readonly file: string
  /** From 1. */
  readonly line: number
  /** In characters, from 1. */
  readonly column: number
  /** The number of marked characters, at least 1. */
  readonly length: number
  /** The whole source line, without its line break. */
  readonly text: string
}

/** An error or warning: what is wrong, where, and what to do. */
export interface Diagnostic {
  /** An error ends the work. A warning does not. */
  readonly severity: 'error' | 'warning'
  /** One of `ERROR_CODES`. */
  readonly code: ErrorCode
  /** What is wrong, in one line. */
  readonly message: string
  /** The place in a recipe. Absent for errors of the command line or of files. */
  readonly place?: Place
  /** What to write or run instead, in one line. */
  readonly hint?: string
}

/** 2: an error before execution. 1: an error during execution. 130: interrupted. 143: interrupted by SIGTERM. */
export type ExitCode = 1 | 2 | 130 | 143

/** Thrown for errors that the user can fix: the diagnostics, and the exit code of the command. */
export class Fault extends Error {
  override readonly name = 'Fault'
  constructor(
    readonly diagnostics: readonly Diagnostic[],
    readonly exit: ExitCode = 2,
  ) {
    super(diagnostics.map((diagnostic) => diagnostic.message).join('\n'))
  }
}

/** A `Fault` with one error that has no place in a recipe. */
export const fault = (code: ErrorCode, message: string, hint?: string, exit: ExitCode = 2): Fault =>
  new Fault([{ severity: 'error', code, message, ...(hint === undefined ? {} : { hint }) }], exit)

/** `FILE:LINE:COLUMN: error CODE: message`, the source line, a caret, and the hint. As the command line prints it, without colors. Never throws. */
export function formatDiagnostic(diagnostic: Diagnostic): string {
  const { severity, code, message, place, hint } = diagnostic
  const lines: string[] = []
  if (place) {
    lines.push(`${place.file}:${place.line}:${place.column}: ${severity} ${code}: ${message}`)
    // Tabs are kept in the caret's line, so that the caret is in the right column for every tab width.
    const lead = place.text.slice(0, place.column - 1).replace(/[^\t]/g, ' ')
    const room = Math.max(1, Math.min(place.length, place.text.length - place.column + 1))
    lines.push(`  ${place.text}`, `  ${lead}${'^'.repeat(room)}`)
  } else lines.push(`${severity} ${code}: ${message}`)
  if (hint !== undefined) lines.push(`  hint: ${hint}`)
  return lines.join('\n')
}

export const hasErrors = (diagnostics: readonly Diagnostic[]): boolean =>
  diagnostics.some((diagnostic) => diagnostic.severity === 'error')
