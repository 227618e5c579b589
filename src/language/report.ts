/** Collects the errors of one recipe and finds their places. */
import type { ErrorCode } from '../core/codes.js'
import type { Diagnostic, Place } from '../core/diagnostics.js'
import { type Node, type Span, spanOf, spanPlace } from './tree.js'
import type { Path } from './types.js'

export interface Note {
  readonly hint?: string | undefined
  readonly part?: 'key' | 'value'
  /** A part of the string at the path: offset of its first character, and its length. */
  readonly within?: { readonly offset: number; readonly length: number }
}

export interface Report {
  readonly error: (code: ErrorCode, message: string, at: Path, note?: Note) => void
  readonly warn: (code: ErrorCode, message: string, at: Path, note?: Note) => void
  readonly diagnostics: Diagnostic[]
}

/** More errors help nobody, and a recipe made to have many costs time. */
const MOST = 500

export function makeReport(root: () => Node): Report {
  const diagnostics: Diagnostic[] = []
  const add = (severity: Diagnostic['severity'], code: ErrorCode, message: string, at: Path, note: Note = {}): void => {
    if (diagnostics.length >= MOST) {
      const message = `the recipe has more than ${MOST} errors; the others are not shown`
      if (diagnostics.length === MOST)
        diagnostics.push({
          severity: 'error',
          code: 'too-many-faults',
          message,
          hint: 'fix the first errors, then validate again',
        })
      return
    }
    const span = spanOf(root(), at, note.part ?? 'value')
    const place = spanPlace(note.within ? narrow(span, note.within) : span)
    diagnostics.push({ severity, code, message, place, ...(note.hint === undefined ? {} : { hint: note.hint }) })
  }
  return {
    error: (...args) => add('error', ...args),
    warn: (...args) => add('warning', ...args),
    diagnostics,
  }
}

/** A part of a scalar as written, including quotes and escapes. Scalars over several lines have no parts. */
function narrow(span: Span, { offset, length }: { offset: number; length: number }): Span {
  const written = span.origin.text.slice(span.start, span.end)
  const quoted = written.startsWith('"') || written.startsWith("'")
  const unit = written.startsWith('"') ? /\\(?:x..|u....|U.{8}|.)|./sy : written.startsWith("'") ? /''|./sy : /./sy
  if (/^[|>&!]|\n/.test(written)) return span
  const ends: number[] = [quoted ? 1 : 0]
  unit.lastIndex = ends[0] ?? 0
  for (let match = unit.exec(written); match && ends.length <= offset + length; match = unit.exec(written))
    ends.push(unit.lastIndex)
  const start = ends[Math.min(offset, ends.length - 1)] ?? 0
  const end = ends[Math.min(offset + length, ends.length - 1)] ?? start
  return { ...span, start: span.start + start, end: span.start + Math.max(end, start + 1) }
}

/** Sorted by place, without duplicates. Those without a place come first, those of `--set` last and in its order. */
export function sortDiagnostics(
  diagnostics: readonly Diagnostic[],
  file: string,
  set: readonly string[],
): Diagnostic[] {
  const rank = (place: Place | undefined): number =>
    place === undefined ? -2 : place.file === file ? -1 : set.indexOf(place.text)
  const seen = new Set<string>()
  return diagnostics
    .map((diagnostic, order) => ({ diagnostic, order }))
    .sort((a, b) => {
      const [p, q] = [a.diagnostic.place, b.diagnostic.place]
      const apart = rank(p) - rank(q) || (p && q ? p.line - q.line || p.column - q.column : 0)
      return apart || a.order - b.order
    })
    .map(({ diagnostic }) => diagnostic)
    .filter(({ severity, code, message, place }) => {
      const key = JSON.stringify([severity, code, message, rank(place), place?.line, place?.column])
      return !seen.has(key) && seen.add(key)
    })
}
