import { stat } from 'node:fs/promises'
import path from 'node:path'
import { withoutExtension } from '../checkpoints/containers/index.js'
import { fault } from '../core/diagnostics.js'
import { quote } from '../core/suggest.js'
import type { Listener } from '../execute/events.js'
import { listOf } from '../lineage/compare.js'
import { exists, findLineage, inside, type ReadLineage, readLineage } from '../lineage/disk.js'
import type { CycloneDxVersion } from '../lineage/forms/standard/cyclonedx.js'
import { unhashed } from '../lineage/forms/standard/identity.js'
import { readPath, readPathOf } from '../lineage/path/read.js'
import type { PathSummary } from '../lineage/path/summary.js'
import { lineageText } from '../lineage/serialize.js'
import type { Lineage } from '../lineage/types.js'
import { ancestorsOf } from './history/ancestors.js'
import { writtenBeside } from './proof/besideLineage.js'

/**
 * `html`: one self-contained page. `text`: the history, as a tree. `cyclonedx`: a bill of materials for machine learning. `slsa`: an in-toto statement with SLSA
 * provenance. `terge`: the format of the Python library terge. `json`: the lineage itself, after a check.
 */
export const REPORT_FORMS = ['html', 'text', 'cyclonedx', 'slsa', 'terge', 'json'] as const
/** The name of a report format. */
export type ReportForm = (typeof REPORT_FORMS)[number]

/** What a report in a standard format contains. */
export interface ReportOptions {
  /** The version of CycloneDX. Default: 1.6. */
  readonly specVersion?: CycloneDxVersion
  /** The time that a CycloneDX document has: ISO 8601. Default: none, so that the same lineage gives the same bytes. */
  readonly timestamp?: string
  /** The folder that the recipe’s paths are relative to. Default: searched near the lineage and in the working folder. */
  readonly recipeFolder?: string
  /** Called with warnings, as events: what the format has no place for, or the lineage does not have. */
  readonly listen?: Listener
}

/**
 * Converts a lineage to the text of a report. `given`: its file, an output folder or a checkpoint file; for a page also the
 * folder of an interpolation. Writes nothing.
 *
 * @throws `missing-lineage` if there is no lineage
 * @throws `bad-lineage` or `lineage-version` if the file is not a lineage that this version reads
 * @throws `bad-summary` if the summary of an interpolation does not fit its points
 * @throws `missing-sha256` for `slsa`, if the lineage has no SHA-256 of a file
 * @throws `contradiction` for options of another format, and `bad-value` for a time that is not one
 */
export async function report(given: string, form: ReportForm = 'html', options: ReportOptions = {}): Promise<string> {
  checkOptions(form, options)
  if (form === 'html') return page(given, options)
  const read = await findLineage(given)
  return FORMS[form](read, options)
}

/** One writer per format of a single lineage. */
const FORMS: Readonly<
  Record<Exclude<ReportForm, 'html'>, (read: ReadLineage, options: ReportOptions) => string | Promise<string>>
> = {
  json: ({ lineage }) => lineageText({ ...lineage, lineage: 2 }),
  async text(read, { recipeFolder }) {
    const { historyText } = await import('../lineage/history/tree.js')
    return historyText(read.lineage, await ancestorsOf(read, recipeFolder), nameOf(read.file, read.lineage))
  },
  terge: async ({ lineage }) => (await import('../lineage/forms/terge.js')).tergeReportText(lineage),
  slsa: async (read) => {
    const { slsaStatement } = await import('../lineage/forms/standard/slsa.js')
    return `${slsaStatement(read.lineage, read.file, await writtenBeside(read))}\n`
  },
  cyclonedx,
}

const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)$/

function checkOptions(form: ReportForm, { specVersion, timestamp }: ReportOptions): void {
  if (form !== 'cyclonedx' && (specVersion !== undefined || timestamp !== undefined))
    throw fault(
      'contradiction',
      `the format ${form} has no ${specVersion === undefined ? 'time' : 'version that can be chosen'}`,
      'use --spec-version and --timestamp with --format cyclonedx',
    )
  if (timestamp !== undefined && (!TIME.test(timestamp) || Number.isNaN(Date.parse(timestamp))))
    throw fault('bad-value', `${quote(timestamp)} is not a time`, 'write it like 2026-11-26T18:30:00Z')
}

async function cyclonedx(read: ReadLineage, options: ReportOptions): Promise<string> {
  const { file, lineage, digest } = read
  const { cyclonedxText } = await import('../lineage/forms/standard/cyclonedx.js')
  const lacking = unhashed(lineage)
  if (lacking.length > 0)
    options.listen?.({
      kind: 'warning',
      diagnostic: {
        severity: 'warning',
        code: 'missing-sha256',
        message: `${file} has no SHA-256 of ${listOf(lacking)}: the document has no hashes of these files`,
        hint: 'run the recipe again with --digests full, the default',
      },
    })
  return cyclonedxText(lineage, {
    name: nameOf(file, lineage),
    lineageFile: { name: path.basename(file), digest },
    version: options.specVersion ?? '1.6',
    timestamp: options.timestamp,
    ancestors: await ancestorsOf(read, options.recipeFolder),
  })
}

/** The name of the output folder, or of its only file. */
function nameOf(file: string, { output }: Lineage): string {
  if (output.point) return output.point.name
  if (path.basename(file) === 'lineage.json') return path.basename(path.dirname(path.resolve(file)))
  const [only] = output.files
  return only ? withoutExtension(only.name) : output.from
}

async function page(given: string, { recipeFolder }: ReportOptions): Promise<string> {
  const { reportHtml } = await import('../lineage/forms/page/index.js')
  const whole = await wholePath(given)
  if (whole)
    return reportHtml(whole.lineage, {
      folder: path.basename(path.resolve(given)),
      curve: whole.curve,
      wholePath: true,
    })
  const read = await findLineage(given)
  const { file, lineage } = read
  const isFolder = path.basename(file) === 'lineage.json'
  return reportHtml(lineage, {
    folder: isFolder ? path.basename(path.dirname(path.resolve(file))) : undefined,
    curve: await readPathOf(lineage, file),
    ancestors: await ancestorsOf(read, recipeFolder),
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
