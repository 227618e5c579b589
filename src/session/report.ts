import { stat } from 'node:fs/promises'
import path from 'node:path'
import { fault } from '../core/diagnostics.js'
import { exists, findLineage, inside, readLineage } from '../lineage/disk.js'
import { readPath, readPathOf } from '../lineage/path/read.js'
import type { PathSummary } from '../lineage/path/summary.js'
import { lineageText } from '../lineage/serialize.js'
import type { Lineage } from '../lineage/types.js'

/** `html`: one self-contained page. `terge`: the format of the Python library terge. `json`: the lineage itself, after a check. */
export const REPORT_FORMS = ['html', 'terge', 'json'] as const
/** The name of a report format. */
export type ReportForm = (typeof REPORT_FORMS)[number]

/**
 * Converts a lineage to the text of a report. `given`: its file, an output folder or a checkpoint file; for a page also the
 * folder of an interpolation. Writes nothing.
 *
 * @throws `missing-lineage` if there is no lineage
 * @throws `bad-lineage` or `lineage-version` if the file is not a lineage that this version reads
 * @throws `bad-summary` if the summary of an interpolation does not fit its points
 */
export async function report(given: string, form: ReportForm = 'html'): Promise<string> {
  if (form === 'html') return page(given)
  const { lineage } = await findLineage(given)
  if (form === 'json') return lineageText({ ...lineage, lineage: 2 })
  return (await import('../lineage/forms/terge.js')).tergeReportText(lineage)
}

async function page(given: string): Promise<string> {
  const { reportHtml } = await import('../lineage/forms/page/index.js')
  const whole = await wholePath(given)
  if (whole)
    return reportHtml(whole.lineage, {
      folder: path.basename(path.resolve(given)),
      curve: whole.curve,
      wholePath: true,
    })
  const { file, lineage } = await findLineage(given)
  const isFolder = path.basename(file) === 'lineage.json'
  return reportHtml(lineage, {
    folder: isFolder ? path.basename(path.dirname(path.resolve(file))) : undefined,
    curve: await readPathOf(lineage, file),
  })
}

/** The path in a folder without a lineage of its own, and the lineage of the point nearest to its middle. */
async function wholePath(given: string): Promise<{ curve: PathSummary; lineage: Lineage } | undefined> {
  const isFolder = (await stat(given).catch(() => undefined))?.isDirectory()
  if (!isFolder || (await exists(path.join(given, 'lineage.json')))) return undefined
  const curve = await readPath(given)
  if (!curve || curve.points.length < 2) return undefined
  const isEnd = (t: number): number => (t === 0 || t === 1 ? 1 : 0)
  const nearest = [...curve.points].sort(
    (a, b) => isEnd(a.t) - isEnd(b.t) || Math.abs(a.t - 0.5) - Math.abs(b.t - 0.5),
  )[0]!
  // The summary may be anybody's: it names no file outside of its folder.
  const file = inside(path.resolve(given), nearest.lineage)
  if (file === undefined)
    throw fault('bad-summary', `${given}: ${nearest.lineage} is outside of the folder`, 'give one of the points')
  const { lineage } = await readLineage(file)
  const { from, point } = lineage.output
  if (from !== curve.step || point?.t !== nearest.t || lineage.plan.digest !== curve.plan.digest)
    throw fault(
      'bad-summary',
      `${given}: ${nearest.lineage} is not the lineage of this path at t = ${nearest.t}`,
      'run the recipe again with --resume: terge then writes the summary again',
    )
  return { curve, lineage }
}
