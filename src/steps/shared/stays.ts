import { keptLines } from '../../rebasin/describe.js'
import type { Lines } from '../analysis.js'

/** Groups that stay unchanged, with the reasons. */
export const staysLines = (kept: Readonly<Record<string, string>>): readonly Lines[] =>
  Object.keys(kept).length === 0 ? [] : [{ text: 'unchanged', branches: keptLines(kept).map((text) => ({ text })) }]
