import type { ReportForm } from '../../index.js'
import { safeJson } from '../../ui/text.js'
import { defineCommand } from '../support/command.js'
import { writeText } from '../support/files.js'
import { Args, chosenFormat, force, formatFlag, json, outputFile } from '../support/flags.js'
import { print } from '../support/print.js'

const FORMATS = ['html', 'terge', 'json'] as const satisfies readonly ReportForm[]

export const report = defineCommand({
  id: 'report',
  summary: 'Turn a lineage into a report.',
  description:
    'html is one self-contained page; for the folder of an interpolation, it covers all points. terge is the report format of the Python library terge: {"tensor": ["arithmetic", [[model, ' +
    'weight], …]]}. json is the lineage itself, after a check. Existing files are replaced only with --force.',
  examples: [
    'Write an HTML page\n<%= config.bin %> report merged -o report.html',
    'Write one page for all points of an interpolation\n<%= config.bin %> report path -o path.html',
    'Print the format of the Python library terge\n<%= config.bin %> report merged.safetensors --format terge',
  ],
  args: {
    lineage: Args.string({
      description: 'lineage file, output folder, checkpoint file or, for html, folder of an interpolation',
      required: true,
      ignoreStdin: true,
    }),
  },
  flags: {
    output: outputFile,
    force,
    format: formatFlag(FORMATS, 'output format'),
    json,
  },
  async execute({ args, flags }) {
    const format = chosenFormat(flags, 'html')
    const terge = await import('../../index.js')
    const text = await terge.report(args.lineage, format)
    if (flags.output === undefined) print(format === 'html' ? text : safeJson(text))
    else await writeText(flags.output, text.endsWith('\n') ? text : `${text}\n`, flags)
    return 0
  },
})
