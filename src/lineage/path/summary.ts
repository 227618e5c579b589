/** The summary of a path: one file with the metrics of all points of an interpolation, next to the points. */
import { recordOf } from '../../core/collections/ownValue.js'
import { fault } from '../../core/diagnostics.js'
import { Bad, bad, digest, list, number, object, type Read, record, text } from '../../core/json/shape.js'
import { fileName } from '../parse.js'
import { sortedKeys } from '../serialize.js'
import type { Digest, Lineage } from '../types.js'
import { barrier, type Deviation, type Deviations, drop, type Series, seriesOf } from './figures.js'

export const SUMMARY = { json: 'summary.json', csv: 'summary.csv' } as const

/** In bytes. The largest interpolation has 10,001 points. */
export const MAX_SUMMARY = 64 * 2 ** 20

/** A point of a path. */
export interface PathPoint {
  readonly t: number
  readonly name: string
  /** Relative to the folder of the path, `/` between parts. */
  readonly lineage: string
  /** Whether the checkpoint was kept. */
  readonly kept: boolean
  /** What its `evaluate` command printed. */
  readonly metrics: Readonly<Record<string, number>>
}

/** The points of an interpolation with their metrics, as in `summary.json`. */
export interface PathSummary {
  /** The version of terge that wrote it. */
  readonly terge: string
  /** Version of the format. */
  readonly summary: 1
  /** The interpolate step. */
  readonly step: string
  /** Of the run that made the points. */
  readonly plan: { readonly digest: Digest }
  /** By t. */
  readonly points: readonly PathPoint[]
  /** By loss: the barrier. */
  readonly barriers: Deviations
  /** By accuracy: the largest drop below the line between the ends. */
  readonly drops: Deviations
}

/** Some points of one path, and the names of their lineages in its folder. */
export function summaryOf(
  points: readonly { readonly lineage: Lineage; readonly file: string }[],
): PathSummary | undefined {
  const [first] = points
  if (!first) return undefined
  const { terge, plan, output } = first.lineage
  const listed = points
    .map(({ lineage: { output, evaluations }, file }) => ({
      t: output.point!.t,
      name: output.point!.name,
      lineage: file,
      kept: output.dropped !== true,
      metrics: evaluations ?? {},
    }))
    .sort((a, b) => a.t - b.t)
  const series = seriesOf(listed)
  return {
    ...{ terge, summary: 1, step: output.from, plan, points: listed },
    barriers: deviations(series, barrier),
    drops: deviations(series, drop),
  }
}

const deviations = (series: readonly Series[], of: (series: Series) => Deviation | undefined): Deviations =>
  recordOf(
    series.flatMap((one) => {
      const found = of(one)
      return found ? [[one.figure, found] as const] : []
    }),
  )

const inOrder = <T>(table: Readonly<Record<string, T>>): Record<string, T> =>
  recordOf(sortedKeys(table).map((key) => [key, table[key]!]))

/** The same points give the same bytes. */
export function summaryJson({ terge, summary, step, plan, points, barriers, drops }: PathSummary): string {
  const lines = points.map(({ metrics, ...point }) => `    ${JSON.stringify({ ...point, metrics: inOrder(metrics) })}`)
  const members = [
    ...Object.entries({ terge, summary, step, plan }).map(([key, value]) => `  "${key}": ${JSON.stringify(value)}`),
    `  "points": [\n${lines.join(',\n')}\n  ]`,
    ...Object.entries({ barriers, drops }).map(([key, table]) => `  "${key}": ${JSON.stringify(inOrder(table))}`),
  ]
  return `{\n${members.join(',\n')}\n}\n`
}

/** A row per point. A metric that a point lacks is an empty cell. */
export function summaryCsv({ points }: PathSummary): string {
  const metrics = [...new Set(points.flatMap((point) => Object.keys(point.metrics)))].sort()
  const rows = points.map(({ t, name, metrics: own }) => [
    String(t),
    name,
    ...metrics.map((metric) => (Object.hasOwn(own, metric) ? String(own[metric]) : '')),
  ])
  return [['t', 'point', ...metrics], ...rows].map((row) => `${row.map(cell).join(',')}\n`).join('')
}

/** As RFC 4180 says, with line feeds alone. */
const cell = (value: string): string => (/[",\r\n]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value)

const flag: Read<boolean> = (value, at) => (typeof value === 'boolean' ? value : bad(at, 'true or false'))
const heights = record(object<Deviation>({ height: number, t: number }))
const shape = object<PathSummary>({
  terge: text,
  summary: (value, at) => (value === 1 ? value : bad(at, '1')),
  step: text,
  plan: object({ digest }),
  points: list(
    object<PathPoint>({ t: number, name: fileName, lineage: fileName, kept: flag, metrics: record(number) }),
  ),
  barriers: heights,
  drops: heights,
})

/** Parses a summary that may be damaged or hostile. Error: `bad-summary`. */
export function parseSummary(source: string, file: string): PathSummary {
  const hint = `remove it and run the recipe again with --resume: terge then writes ${SUMMARY.json} again`
  let value: unknown
  try {
    value = JSON.parse(source)
  } catch {
    throw fault('bad-summary', `${file}: not JSON`, hint)
  }
  try {
    return shape(value, '', 0)
  } catch (error) {
    if (!(error instanceof Bad)) throw error
    throw fault('bad-summary', `${file}: ${error.describe('the summary')}`, hint)
  }
}
