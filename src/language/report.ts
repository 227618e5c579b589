/** Collects the errors of one recipe and finds their places. */
import type { ErrorCode } from '../core/codes.js'
import type { Diagnostic, Place } from '../core/diagnostics.js'
import { partSpan } from './places/partPlaces.js'
import { type Node, nodeAt, spanOf, spanPlace } from './tree.js'
import type { Path, Within } from './types.js'

export interface Note {
  readonly hint?: string | undefined
  readonly part?: 'key' | 'value'
  /** A part of the string at the path: offset of its first character, and its length. */
  readonly within?: Within
}

export interface Report {
  readonly error: (code: ErrorCode, message: string, at: Path, note?: Note) => void
  readonly warn: (code: ErrorCode, message: string, at: Path, note?: Note) => void
  readonly diagnostics: Diagnostic[]
}

/** The place of a node, of its key, or of a part of a string. */
export function placeIn(root: Node, at: Path, part: 'key' | 'value' = 'value', within?: Within): Place {
  const span = spanOf(root, at, part)
  const node = within && nodeAt(root, at)
  const isText = node?.kind === 'scalar' && typeof node.value === 'string' && node.span === span
  return spanPlace(within && isText ? partSpan(span, String(node.value), within) : span)
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
    const place = placeIn(root(), at, note.part, note.within)
    diagnostics.push({ severity, code, message, place, ...(note.hint === undefined ? {} : { hint: note.hint }) })
  }
  return {
    error: (...args) => add('error', ...args),
    warn: (...args) => add('warning', ...args),
    diagnostics,
  }
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
