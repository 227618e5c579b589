import { readLineage } from '../lineage/disk.js'
import { lineageText } from '../lineage/serialize.js'
import type { Lineage } from '../lineage/types.js'

/** `html`: one self-contained page. `terge`: the form of the Python library terge. `json`: the lineage itself, checked. */
export const REPORT_FORMS = ['html', 'terge', 'json'] as const
/** The name of a form that a lineage can be reported in. */
export type ReportForm = (typeof REPORT_FORMS)[number]

const FORMS: Record<ReportForm, (lineage: Lineage) => Promise<string>> = {
  html: async (lineage) => (await import('../lineage/forms/page/index.js')).reportHtml(lineage),
  terge: async (lineage) => (await import('../lineage/forms/page/terge.js')).tergeReportText(lineage),
  json: async (lineage) => lineageText({ ...lineage, lineage: 2 }),
}

/** A lineage file in a form for people or programs. Throws a `Fault` where the file is missing or not a lineage. */
export async function report(lineagePath: string, form: ReportForm = 'html'): Promise<string> {
  const { lineage } = await readLineage(lineagePath)
  return FORMS[form](lineage)
}
