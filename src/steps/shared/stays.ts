import { plural } from '../../core/words.js'
import { keptLines } from '../../rebasin/describe.js'
import type { Lines } from '../analysis.js'

/** Reasons in the summary of a run. */
const MOST_REASONS = 8

/** The same for the summary of a run: one text per reason. */
export function staysNotes(kept: Readonly<Record<string, string>> = {}): readonly string[] {
  const lines = keptLines(kept)
  const more = lines.length - MOST_REASONS
  return [
    ...lines.slice(0, MOST_REASONS).map((line) => `unchanged: ${line}`),
    ...(more > 0 ? [`unchanged for ${plural(more, 'other reason')}: terge plan lists them all`] : []),
  ]
}

/** Groups that stay unchanged, with the reasons. */
export const staysLines = (kept: Readonly<Record<string, string>>): readonly Lines[] =>
  Object.keys(kept).length === 0 ? [] : [{ text: 'unchanged', branches: keptLines(kept).map((text) => ({ text })) }]
