import { fault } from '../core/diagnostics.js'
import type { Difference } from '../index.js'
import { widthOf } from '../ui/fit.js'
import { PLAN_FORMATS, type PlanFormat } from '../ui/plan/index.js'
import { showsColours } from '../ui/problems.js'
import { differenceMarkdown } from '../ui/review/markdown.js'
import { differenceText } from '../ui/review/text.js'
import { toJson } from '../ui/text.js'
import { defineCommand } from './support/command.js'
import {
  Args,
  chosenFormat,
  disk,
  Flags,
  formatFlag,
  json,
  licenses,
  machineFlags,
  mergekitFlags,
  onOff,
  set,
  setOf,
  strict,
} from './support/flags.js'
import { given } from './support/options.js'
import { showLicenses, showPlan } from './support/perform.js'
import { print } from './support/print.js'

const FORMATS = [...PLAN_FORMATS, 'markdown'] as const

export const plan = defineCommand({
  id: 'plan',
  summary: 'Show what a recipe would do, without running it.',
  description:
    'Lists tensors per method, copied tensors and why, match counts of patterns, bytes to read and write, and peak memory. Reads ' +
    'only file headers. The plan’s digest covers everything that determines the output’s bytes. terge run executes exactly this plan. ' +
    '--against compares it with the plan of a git revision, of another recipe, or in a file: what a change of the recipe does.',
  examples: [
    'Print a tree\n<%= config.bin %> plan recipe.yml',
    'Print JSON\n<%= config.bin %> plan recipe.yml --json',
    'Check that 40 GB are enough for models on the hub\n<%= config.bin %> plan recipe.yml --disk 40GB',
    'Print a graph for Graphviz\n<%= config.bin %> plan recipe.yml --format dot',
    'Show what a change does\n<%= config.bin %> plan recipe.yml --against main',
    'For a comment on a pull request\n<%= config.bin %> plan recipe.yml --against origin/main --markdown',
  ],
  args: { recipe: Args.string({ description: 'recipe file', required: true, ignoreStdin: true }) },
  flags: {
    output: Flags.string({ char: 'o', helpValue: 'PATH', description: 'use this output path instead of the recipe’s' }),
    set,
    ...mergekitFlags,
    strict,
    licenses,
    ...machineFlags,
    disk: disk({
      description: 'show what a run with this --disk does: downloads and stages; fails if it is too small',
    }),
    threads: { ...machineFlags.threads, description: 'threads to compute peak memory for (default: one per CPU core)' },
    against: Flags.string({
      helpValue: 'EARLIER',
      description: 'compare with a git revision (main, or main:PATH), another recipe, or a plan that --json printed',
    }),
    'no-models': onOff('with --against: compare only the texts of the recipes'),
    'exit-code': onOff('with --against: exit with 1 unless the bytes will be the same'),
    format: formatFlag(FORMATS, 'output format'),
    json,
    markdown: onOff('with --against: same as --format markdown'),
  },
  async execute({ args, flags }) {
    const format = formatOf(flags)
    const terge = await import('../index.js')
    const reading = { strict: flags.strict, set: setOf(flags), ...given({ output: flags.output }) }
    if (flags.against !== undefined) {
      const found = await terge.comparePlans(args.recipe, flags.against, { ...reading, models: !flags['no-models'] })
      print(differenceAs(format, found))
      return flags['exit-code'] && !EQUAL.includes(found.bytes) ? 1 : 0
    }
    const prepared = await terge.plan(args.recipe, reading)
    await (flags.licenses ? showLicenses(prepared, format === 'json') : showPlan(prepared, format as PlanFormat, flags))
    return 0
  },
})

type Format = (typeof FORMATS)[number]

/** The format, which must be one for a plan or for a comparison. Error: `bad-flag`. */
function formatOf(flags: {
  readonly against?: string | undefined
  readonly format?: Format | undefined
  readonly json?: boolean
  readonly markdown?: boolean
  readonly 'no-models'?: boolean
  readonly 'exit-code'?: boolean
  readonly licenses?: boolean
  readonly disk?: number | undefined
}): Format {
  const { markdown, ...rest } = flags
  if (markdown && (rest.json || (rest.format !== undefined && rest.format !== 'markdown')))
    throw fault('bad-flag', '--markdown cannot be used together with another format', 'remove one of them')
  const format = markdown ? 'markdown' : chosenFormat(rest, 'tree')
  const alone = format === 'markdown' ? '--markdown' : rest['no-models'] ? '--no-models' : '--exit-code'
  const needs = format === 'markdown' || rest['no-models'] || rest['exit-code']
  if (rest.against === undefined && needs)
    throw fault('bad-flag', `${alone} needs --against`, 'write what to compare with, such as --against main')
  const other = rest.licenses ? '--licenses' : rest.disk === undefined ? undefined : '--disk'
  if (rest.against !== undefined && other !== undefined)
    throw fault('bad-flag', `--against and ${other} cannot be used together`, 'remove one of them')
  if (rest.against !== undefined && (format === 'mermaid' || format === 'dot'))
    throw fault('bad-flag', `--against has no format ${format}`, 'write tree, json or markdown')
  return format
}

/** With `--exit-code`, these end with 0. */
const EQUAL: readonly Difference['bytes'][] = ['same', 'same-for-same-inputs']

function differenceAs(format: Format, found: Difference): string {
  if (format === 'json') return toJson(found)
  if (format === 'markdown') return differenceMarkdown(found)
  return differenceText(found, widthOf(process.stdout), showsColours(process.stdout, process.env))
}
