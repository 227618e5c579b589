/** A search as one self-contained HTML page, with the looks of the report page. */
import { plural } from '../../core/words.js'
import { STYLE as REPORT_STYLE } from '../../lineage/forms/page/assets.js'
import { framed } from '../../lineage/forms/page/frame.js'
import { code, escapeHtml, scriptJson } from '../../lineage/forms/page/html.js'
import type { SearchRecord } from '../types.js'
import { SCRIPT, STYLE } from './assets.js'
import { convergence } from './charts.js'
import { parallel } from './parallel.js'
import { bestTrial, failures, importance, slices, summary } from './sections.js'
import { scaleOf } from './shown.js'
import { trialsData, trialsTable } from './trialsTable.js'

const CLASS_KEYS =
  '<p class="legend"><span class="key q4">best fifth of the trials</span> <span class="key q2">middle</span> <span class="key q0">worst fifth</span> <span class="key best">best trial</span> <span class="key failed">failed trials</span></p>'

/**
 * The page, without network or other files. Every text is escaped, and the page's content security policy allows only its own script
 * and style.
 */
export function renderSearchPage(record: SearchRecord): string {
  const scale = scaleOf(record)
  const data = trialsData(record, scale)
  const title = `Search of ${escapeHtml(record.recipe)}`
  const better = `${scale.falls ? 'Lower' : 'Higher'} is better.`
  const beyond =
    scale.beyond === 0
      ? ''
      : ` Results much worse than the others are drawn at the edge: ${scale.beyond} of ${record.trials.length}.`
  const note = `<p class="soft">${better}${beyond}</p>`
  const any = record.trials.length > 0
  const sections = [
    ['best', 'Best trial', bestTrial(record, scale)],
    ['convergence', 'Convergence', any ? `${note}${convergence(record, scale)}` : ''],
    ['parallel', 'Parallel coordinates', any ? `${CLASS_KEYS}${parallel(record, scale)}` : ''],
    ['importance', 'Importance of parameters', importance(record)],
    ['parameters', 'Results by parameter', slices(record, scale)],
    ['failures', 'Failed trials', failures(record)],
    ['trials', 'Trials', trialsTable(data, record, scale)],
  ] as const
  return framed({
    ...{ title, style: REPORT_STYLE + STYLE, script: SCRIPT },
    head: `<p class="soft">method ${code(record.method)} · seed ${record.seed} · at most ${plural(record.asked, 'trial')} · terge ${escapeHtml(record.version)}</p>
${summary(record, scale)}`,
    sections: sections.map(([id, title, inside]) => ({ id, title, inside })),
    data: `<script type="application/json" id="data">${scriptJson(data)}</script>`,
  })
}
