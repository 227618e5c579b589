/** Metrics: of this output, and along the path that it is a point of. */
import { type Deviation, type Series, seriesOf } from '../../../path/figures.js'
import type { PathSummary } from '../../../path/summary.js'
import type { Lineage } from '../../../types.js'
import { type Line, legend, lineChart } from '../drawing/lineChart.js'
import { beside, type Size } from '../drawing/svg.js'
import { code, escapeHtml, numberText, table } from '../html.js'
import { short } from '../numbers.js'

/** Charts of a path; the table has every metric. */
const MOST_CHARTS = 12
/** Points in the table. */
const MOST_POINTS = 501

const valueAt = (points: Line['points'], x: number): number | undefined => points.find((point) => point.x === x)?.y

/** How far a metric is on the bad side of the straight line between the ends. */
export function deviationOf(
  metric: string,
  { barriers, drops }: PathSummary,
): ({ word: string } & Deviation) | undefined {
  if (Object.hasOwn(barriers, metric)) return { word: 'barrier', ...barriers[metric]! }
  return Object.hasOwn(drops, metric) ? { word: 'drop', ...drops[metric]! } : undefined
}

function chartOf(series: Series, curve: PathSummary, here: number | undefined, size: Size): string {
  const metric = series.figure
  const values = series.points.map(({ t, value }) => ({ x: t, y: value }))
  if (values.length < 2) return ''
  const [from, to] = [valueAt(values, 0), valueAt(values, 1)]
  const straight =
    from === undefined || to === undefined
      ? []
      : [
          { x: 0, y: from },
          { x: 1, y: to },
        ]
  const found = deviationOf(metric, curve)
  const lines: Line[] = [
    ...(straight.length > 0
      ? [{ label: 'straight line between the ends', colour: 8, points: straight, dashed: true }]
      : []),
    { label: metric, colour: 0, points: values },
  ]
  const high = found && found.height > 0 ? valueAt(values, found.t) : undefined
  const rise =
    high !== undefined && from !== undefined && to !== undefined
      ? {
          x: found!.t,
          from: (1 - found!.t) * from + found!.t * to,
          to: high,
          label: `${found!.word} ${short(found!.height)}`,
        }
      : undefined
  const own = here === undefined ? undefined : valueAt(values, here)
  const text =
    found === undefined
      ? ''
      : ` · ${found.word} <b>${numberText(found.height)}</b>${found.height > 0 ? ` at t = ${short(found.t)}` : ''}`
  const chart = lineChart(
    {
      label: `${metric} along the path`,
      axis: 't',
      lines,
      ...(rise ? { rise } : {}),
      ...(own === undefined ? {} : { here: { x: here!, y: own } }),
    },
    size,
  )
  return `<figure><figcaption><b>${escapeHtml(metric)}</b>${text}${legend(lines)}</figcaption>${chart}</figure>`
}

function pointTable(metrics: readonly string[], { points }: PathSummary, here: number | undefined): string {
  const rows = points
    .slice(0, MOST_POINTS)
    .map(({ t, name, kept, metrics: own }) => [
      { number: `${t === here ? '<b>' : ''}${numberText(t)}${t === here ? '</b> this one' : ''}` },
      code(name),
      ...metrics.map((metric) => ({ number: Object.hasOwn(own, metric) ? numberText(own[metric]!) : '–' })),
      kept ? 'kept' : '<span class="soft">evaluated, not kept</span>',
    ])
  const folded = `<summary>All ${points.length} points</summary>${table(['t', 'Point', ...metrics.map(escapeHtml), 'Checkpoint'], rows)}`
  return `<details${points.length <= 21 ? ' open' : ''}>${folded}</details>`
}

/** The section's content as HTML; empty without metrics. `curve`: the path of an interpolation. `all`: the page is about the path. */
export function curves({ evaluations = {}, output }: Lineage, curve: PathSummary | undefined, all: boolean): string {
  const here = all ? undefined : output.point?.t
  const own = Object.entries(evaluations).map(([name, value]) => [escapeHtml(name), { number: numberText(value) }])
  const series = curve ? seriesOf(curve.points) : []
  const size = series.length > 1 ? 'small' : 'large'
  const charts = series.slice(0, MOST_CHARTS).map((one) => chartOf(one, curve!, here, size))
  const metrics = series.map(({ figure }) => figure)
  const points = curve && (all || metrics.length > 0) ? pointTable(metrics, curve, here) : ''
  return (
    (own.length === 0 || all ? '' : table(['Metric', 'Value'], own)) +
    (size === 'small' ? beside(charts) : charts.join('')) +
    points
  )
}
