/** The frame of the table of tensors. The script fills it. */
import { COPY_REASONS, type CopyReason } from '../../../../core/reasons.js'
import type { Lineage } from '../../../types.js'
import { escapeHtml, isCopied } from '../html.js'
import type { PageData } from '../pageData.js'

const option = (value: string, text = value): string =>
  `<option value="${escapeHtml(value)}">${escapeHtml(text)}</option>`

/** By the column's key. */
const HEADS = [
  ['name', 'Tensor'],
  ['method', 'Method'],
  ['weight', 'Sources and weights'],
  ['dtype', 'Dtype'],
  ['shape', 'Shape'],
  ['elements', 'Elements'],
] as const

export function tensorTable({ tensors }: Lineage, { reasons, rules, absents, shortened }: PageData): string {
  const heads = HEADS.map(
    ([key, title]) => `<th scope="col" data-sort="${key}"><button type="button">${title}</button></th>`,
  )
  const methods = [...new Set(Object.values(tensors).map(({ method }) => method))].sort()
  const copied = new Set<string | undefined>(
    Object.values(tensors)
      .filter(isCopied)
      .map(({ reason }) => reason),
  )
  const which = [
    option('', 'all tensors'),
    option('merged', 'made, not copied'),
    ...(absents.length > 0 ? [option('absent', 'with a skipped model')] : []),
    ...reasons.map(({ code }) =>
      option(code, `${copied.has(code) ? 'copied: ' : ''}${COPY_REASONS[code as CopyReason]}`),
    ),
  ]
  const chosen = [
    option('', 'all rules'),
    ...rules.map(({ step, number }) => option(`${step}/${number}`, `rule ${number} of ${step}`)),
  ]
  const note = shortened
    ? '<p class="soft">How steps on the way made each tensor would make this page too large. The lineage file has it.</p>'
    : ''
  return `<noscript><p>This table needs JavaScript. The lineage file itself is plain JSON.</p></noscript>${note}
<div class="tools"><input id="search" type="search" placeholder="part of a name, or /expression/" aria-label="search names" aria-describedby="wrong">
<select id="method" aria-label="method">${option('', 'all methods')}${methods.map((method) => option(method)).join('')}</select>
<select id="which" aria-label="which tensors">${which.join('')}</select>
<select id="rule" aria-label="rule"${rules.length === 0 ? ' hidden' : ''}>${chosen.join('')}</select>
<button id="clear" type="button" hidden>Clear</button>
<p id="wrong" role="alert"></p>
<div class="pager"><span id="count" class="soft" role="status"></span><button id="before" type="button" aria-label="page before">‹</button><span id="page" class="soft"></span><button id="after" type="button" aria-label="next page">›</button></div></div>
<table class="tensor-table"><thead><tr>${heads.join('')}</tr></thead><tbody id="rows"></tbody></table>`
}
