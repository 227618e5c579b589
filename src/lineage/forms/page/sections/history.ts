/** What the inputs were made from, generation by generation. */
import { type HistoryBranch, historyBranches } from '../../../history/tree.js'
import type { Ancestor } from '../../../history/types.js'
import { escapeHtml } from '../html.js'

const list = (branches: readonly HistoryBranch[]): string =>
  `<ul>${branches.map(({ text, branches: below }) => `<li>${escapeHtml(text)}${below.length > 0 ? list(below) : ''}</li>`).join('')}</ul>`

/** Empty if nothing is known of any input. */
export const history = (ancestors: readonly Ancestor[]): string =>
  ancestors.every(({ origin }) => origin.kind === 'unknown')
    ? ''
    : `${list(historyBranches(ancestors))}<p class="soft">Recorded digests were compared. No file was read again: terge verify does that.</p>`
