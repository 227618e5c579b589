/** The frame of the table of trials, and its rows as data. The script fills it. */
import { escapeHtml } from '../../lineage/forms/page/html.js'
import { rounded } from '../../lineage/forms/page/numbers.js'
import { doneOf } from '../done.js'
import type { SearchRecord } from '../types.js'
import { labelsOf, type Scale } from './shown.js'
import type { CellData, Column, TrialsData } from './trialsData.js'

/** Metrics that are columns. The file of trials has all of them. */
const MOST_METRICS = 12

/** Metrics beside the one that is the result, in the order in which trials have them. */
const metricsOf = ({ trials }: SearchRecord, scale: Scale): string[] =>
  [...new Set(trials.flatMap(({ values }) => Object.keys(values)))].filter((name) => name !== scale.name)

export function trialsData(record: SearchRecord, scale: Scale): TrialsData {
  const { dimensions, trials } = record
  const metrics = metricsOf(record, scale).slice(0, MOST_METRICS)
  const numbers = dimensions.map(({ range }) => range.kind !== 'choice')
  const columns: Column[] = [
    { title: 'Trial', number: true },
    { title: 'State', number: false },
    { title: scale.name, number: true },
    ...labelsOf(dimensions).map((title, i) => ({ title, number: numbers[i]! })),
    ...metrics.map((title) => ({ title, number: true })),
    { title: 'Seconds', number: true },
  ]
  const done = doneOf(trials).sort((a, b) => b.score - a.score)
  const ranks = new Map(done.map(({ index }, rank) => [index, rank / done.length]))
  const rows = trials.map((trial) => {
    const { index, state, point, values, seconds, reason } = trial
    const failed = state === 'failed'
    const cells: CellData[] = [
      index,
      failed ? `failed${reason === undefined ? '' : `: ${reason}`}` : index === record.best ? 'best' : 'done',
      failed ? null : rounded(scale.of(trial)),
      ...point.map((value, i) => (numbers[i] ? rounded(Number(value)) : String(value))),
      ...metrics.map((name) => (Object.hasOwn(values, name) ? rounded(values[name]!) : null)),
      Math.round(seconds * 100) / 100,
    ]
    return { index, failed, rank: ranks.get(index) ?? 1, cells }
  })
  return { columns, rows }
}

/** Without its rows. */
export function trialsTable({ columns, rows }: TrialsData, record: SearchRecord, scale: Scale): string {
  const heads = columns.map(
    ({ title, number }, index) =>
      `<th scope="col" data-sort="${index}"${number ? ' class="number"' : ''}><button type="button">${escapeHtml(title)}</button></th>`,
  )
  const failed = rows.filter((row) => row.failed).length
  const more = metricsOf(record, scale).length - MOST_METRICS
  const note = more > 0 ? `<p class="soft">${more} more metrics are in the file of trials.</p>` : ''
  const choices = [
    ['all', 'all trials'],
    ['0.1', 'the best tenth'],
    ['0.25', 'the best quarter'],
    ...(failed > 0 ? [['failed', 'failed trials']] : []),
  ]
  const options = choices.map(([value, text]) => `<option value="${value}">${text}</option>`)
  return `<noscript><p>This table needs JavaScript. The file of trials has one JSON object per line.</p></noscript>${note}
<div class="tools"><select id="which" aria-label="which trials the table and the lines show">${options.join('')}</select>
<button id="clear" type="button" hidden>Unmark all</button>
<div class="pager"><span id="count" class="soft" role="status"></span><button id="before" type="button" aria-label="page before">‹</button><span id="page" class="soft"></span><button id="after" type="button" aria-label="next page">›</button></div></div>
<div class="scrolls" role="region" aria-label="table of trials" tabindex="0"><table class="cards-when-narrow trials"><thead><tr>${heads.join('')}</tr></thead><tbody id="rows"></tbody></table></div>`
}
