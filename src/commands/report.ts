import type { ReportForm } from '../index.js'
import { safeJson } from '../ui/text.js'
import { defineCommand } from './support/command.js'
import { writeNewText } from './support/files.js'
import { Args, chosenFormat, formatFlag, json, outputFile } from './support/flags.js'
import { print } from './support/print.js'

const FORMATS = ['html', 'terge', 'json'] as const satisfies readonly ReportForm[]

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
    const terge = await import('../index.js')
    const text = await terge.report(args.lineage, format)
    if (flags.output === undefined) print(format === 'html' ? text : safeJson(text))
    else await writeNewText(flags.output, text.endsWith('\n') ? text : `${text}\n`)
    return 0
  },
})
