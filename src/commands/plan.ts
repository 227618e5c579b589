import { PLAN_FORMATS } from '../ui/plan/index.js'
import { defineCommand } from './support/command.js'
import {
  Args,
  chosenFormat,
  Flags,
  formatFlag,
  json,
  machineFlags,
  mergekitFlags,
  set,
  setOf,
  strict,
} from './support/flags.js'
import { given } from './support/options.js'
import { showPlan, threadsOf } from './support/perform.js'

export const plan = defineCommand({
  id: 'plan',
  summary: 'Show what a recipe would do, from the models’ headers alone.',
  description:
    'Tensors by method, what is copied and why, patterns with their match counts, bytes to read and write, peak memory. ' +
    'The plan’s digest is over all that decides the output’s bytes; terge run executes just this plan.',
  examples: [
    'As a tree\n<%= config.bin %> plan recipe.yml',
    'For a program\n<%= config.bin %> plan recipe.yml --json',
    'As a picture\n<%= config.bin %> plan recipe.yml --format dot',
  ],
  args: { recipe: Args.string({ description: 'the recipe’s file', required: true, ignoreStdin: true }) },
  flags: {
    output: Flags.string({ char: 'o', helpValue: 'PATH', description: 'plan for this output instead of the recipe’s' }),
    set,
    ...mergekitFlags,
    strict,
    threads: machineFlags.threads,
    format: formatFlag(PLAN_FORMATS, 'the form'),
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
    await showPlan(prepared, format, threadsOf(flags))
    return 0
  },
})
