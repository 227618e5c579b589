import { PLAN_FORMATS } from '../ui/plan/index.js'
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
  set,
  setOf,
  strict,
} from './support/flags.js'
import { given } from './support/options.js'
import { showLicenses, showPlan } from './support/perform.js'

export const plan = defineCommand({
  id: 'plan',
  summary: 'Show what a recipe would do, without running it.',
  description:
    'Lists tensors per method, copied tensors and why, match counts of patterns, bytes to read and write, and peak memory. Reads ' +
    'only file headers. The plan’s digest covers everything that determines the output’s bytes. terge run executes exactly this plan.',
  examples: [
    'Print a tree\n<%= config.bin %> plan recipe.yml',
    'Print JSON\n<%= config.bin %> plan recipe.yml --json',
    'Check that 40 GB are enough for models on the hub\n<%= config.bin %> plan recipe.yml --disk 40GB',
    'Print a graph for Graphviz\n<%= config.bin %> plan recipe.yml --format dot',
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
    format: formatFlag(PLAN_FORMATS, 'output format'),
    json,
  },
  async execute({ args, flags }) {
    const format = chosenFormat(flags, 'tree')
    const terge = await import('../index.js')
    const prepared = await terge.plan(args.recipe, {
      strict: flags.strict,
      set: setOf(flags),
      ...given({ output: flags.output }),
    })
    await (flags.licenses ? showLicenses(prepared, format === 'json') : showPlan(prepared, format, flags))
    return 0
  },
})
