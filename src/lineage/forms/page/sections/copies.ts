/** What was copied and which models were skipped, and the filters that decided it. */
import { ABSENT_REASONS, COPY_REASONS, type CopyReason } from '../../../../core/reasons.js'
import type { Lineage } from '../../../types.js'
import { code, escapeHtml, filterLink, isCopied, table, tally } from '../html.js'
import { grouped } from '../numbers.js'
import { stepId } from '../rules.js'

/** Reasons that come from patterns of a recipe. */
const FILTERS: Partial<Record<CopyReason, 'include' | 'exclude'>> = { 'not-included': 'include', excluded: 'exclude' }

/** The patterns behind a reason, with links to their steps. */
function filtersOf(lineage: Lineage, reason: CopyReason): string {
  const where = FILTERS[reason]
  if (where === undefined) return ''
  const found = Object.values(lineage.steps).flatMap((step, index) => {
    const patterns = step.kind === 'tokenizer' ? [] : step.patterns.filter((pattern) => pattern.where === where)
    return patterns.map(({ pattern }) => `<a href="#${stepId(index)}">${where} ${code(pattern)}</a>`)
  })
  return found.join('<br>')
}

export function copies(lineage: Lineage): string {
  const tensors = Object.values(lineage.tensors)
  const reasons = tally(tensors.filter(isCopied), ({ reason }) => reason ?? '').filter(([reason]) => reason !== '')
  const absent = tally(
    tensors.flatMap((tensor) => tensor.absent ?? []),
    ({ model, reason }) => `${model}: ${ABSENT_REASONS[reason]}`,
  )
  const copied = reasons.map(([key, count]) => {
    const reason = key as CopyReason
    return [
      filterLink({ which: reason }, escapeHtml(COPY_REASONS[reason])),
      filtersOf(lineage, reason) || '<span class="soft">–</span>',
      { number: grouped(count) },
    ]
  })
  const skipped = absent.map(([text, count]) => [
    filterLink({ which: 'absent' }, escapeHtml(text)),
    { number: grouped(count) },
  ])
  return (
    (copied.length === 0 ? '' : table(['Reason for copying', 'Filter', 'Tensors'], copied)) +
      (skipped.length === 0 ? '' : table(['Skipped model', 'Tensors'], skipped)) ||
    '<p>No tensor was copied, and no model was skipped.</p>'
  )
}
