import type { CycloneDxVersion, ReportForm } from '../../index.js'
import { printable, safeJson } from '../../ui/text.js'
import { defineCommand } from '../support/command.js'
import { writeText } from '../support/files.js'
import { Args, chosenFormat, Flags, force, formatFlag, json, outputFile, recipeFolder } from '../support/flags.js'
import { given } from '../support/options.js'
import { complain, print } from '../support/print.js'

const FORMATS = ['html', 'text', 'cyclonedx', 'slsa', 'terge', 'json'] as const satisfies readonly ReportForm[]
const VERSIONS = ['1.6', '1.7'] as const satisfies readonly CycloneDxVersion[]

export const report = defineCommand({
  id: 'report',
  summary: 'Turn a lineage into a report.',
  description:
    'html is one self-contained page; for the folder of an interpolation, it covers all points. text is the history: what the inputs were made from, as far as lineages lie beside them. cyclonedx is a bill of materials ' +
    'for machine learning (ML-BOM), and slsa an in-toto statement with SLSA provenance. terge is the report format of the Python library terge: {"tensor": ["arithmetic", [[model, ' +
    'weight], …]]}. json is the lineage itself, after a check. Existing files are replaced only with --force.',
  examples: [
    'Write an HTML page\n<%= config.bin %> report merged -o report.html',
    'Write one page for all points of an interpolation\n<%= config.bin %> report path -o path.html',
    'Show the history: what the inputs were made from\n<%= config.bin %> report merged --format text',
    'Write a bill of materials\n<%= config.bin %> report merged --format cyclonedx -o merged.cdx.json',
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
    'spec-version': Flags.option({ options: VERSIONS, description: 'version of CycloneDX (default: 1.6)' })(),
    'recipe-folder': recipeFolder,
    timestamp: Flags.string({
      description: 'time in a CycloneDX document, such as 2026-11-26T18:30:00Z, or now (default: no time)',
      helpValue: 'TIME',
    }),
    json,
  },
  async execute({ args, flags }) {
    const format = chosenFormat(flags, 'html')
    const terge = await import('../../index.js')
    const { timestamp } = flags
    const text = await terge.report(args.lineage, format, {
      ...given({ specVersion: flags['spec-version'], recipeFolder: flags['recipe-folder'] }),
      ...given({ timestamp: timestamp === 'now' ? new Date().toISOString() : timestamp }),
      listen: (event) => event.kind === 'warning' && complain([event.diagnostic]),
    })
    if (flags.output === undefined) print(format === 'html' || format === 'text' ? text : safeJson(text))
    else {
      await writeText(flags.output, text.endsWith('\n') ? text : `${text}\n`, flags)
      if (format !== 'json') print(`wrote ${printable(flags.output)}`)
    }
    return 0
  },
})
