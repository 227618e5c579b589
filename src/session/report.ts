import path from 'node:path'
import { findLineage, readLineage } from '../lineage/disk.js'
import { lineageText } from '../lineage/serialize.js'
import type { Lineage } from '../lineage/types.js'

/** `html`: one self-contained page. `terge`: the format of the Python library terge. `json`: the lineage itself, after a check. */
export const REPORT_FORMS = ['html', 'terge', 'json'] as const
/** The name of a report format. */
export type ReportForm = (typeof REPORT_FORMS)[number]

const FORMS: Record<ReportForm, (lineage: Lineage, folder?: string) => Promise<string>> = {
  html: async (lineage, folder) => (await import('../lineage/forms/page/index.js')).reportHtml(lineage, { folder }),
  terge: async (lineage) => (await import('../lineage/forms/terge.js')).tergeReportText(lineage),
  json: async (lineage) => lineageText({ ...lineage, lineage: 2 }),
}

/** Converts a lineage to a report. `given`: its file, an output folder or a checkpoint file. Throws a `Fault` if the file is missing or not a lineage. */
export async function report(given: string, form: ReportForm = 'html'): Promise<string> {
  const found = await findLineage(given)
  const { lineage } = await readLineage(found)
  return FORMS[form](
    lineage,
    path.basename(found) === 'lineage.json' ? path.basename(path.dirname(path.resolve(found))) : undefined,
  )
}
