import { safeJson } from '../ui/text.js'
import { defineCommand } from './command.js'
import { writeNewText } from './files.js'
import { Args, chosenFormat, formatFlag, json, outputFile } from './flags.js'
import { print } from './print.js'

const FORMATS = ['html', 'terge', 'json'] as const

export const report = defineCommand({
  id: 'report',
  summary: 'Show a lineage as a page, or in the form of the Python library terge.',
  description:
    'html is one self-contained page; terge the library’s form, {"tensor": ["arithmetic", [[model, weight], …]]}; ' +
    'json the lineage itself, checked. A file that exists is not replaced.',
  examples: [
    'A page to look at\n<%= config.bin %> report merged/lineage.json -o report.html',
    'For a script that reads the library’s reports\n<%= config.bin %> report merged/lineage.json --format terge',
  ],
  args: { lineage: Args.string({ description: 'the lineage’s file', required: true, ignoreStdin: true }) },
  flags: {
    output: outputFile,
    format: formatFlag(FORMATS, 'the form'),
    json,
  },
  async execute({ args, flags }) {
    const format = chosenFormat(flags, 'html')
    const { readLineage } = await import('../lineage/disk.js')
    const { lineage } = await readLineage(args.lineage)
    const text = await FORMS[format](lineage)
    if (flags.output === undefined) print(format === 'html' ? text : safeJson(text))
    else await writeNewText(flags.output, text.endsWith('\n') ? text : `${text}\n`)
    return 0
  },
})

type Form = (lineage: import('../lineage/types.js').Lineage) => Promise<string>

const FORMS: Record<(typeof FORMATS)[number], Form> = {
  html: async (lineage) => (await import('../lineage/reportHtml.js')).reportHtml(lineage),
  terge: async (lineage) => (await import('../lineage/reportTerge.js')).tergeReportText(lineage),
  json: async (lineage) => (await import('../lineage/serialize.js')).lineageText(lineage),
}
