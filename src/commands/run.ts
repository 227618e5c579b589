import { defineCommand } from './support/command.js'
import { Args, Flags, mergekitFlags, onOff, runFlags, set, setOf } from './support/flags.js'
import { given } from './support/options.js'
import { perform, startEarly } from './support/perform.js'

export const run = defineCommand({
  id: 'run',
  summary: 'Merge as a recipe says.',
  description:
    'Checks the recipe, plans from the models’ headers, executes the plan, and writes the output with its lineage beside it. ' +
    'An output that exists is refused unless --force is given, or --resume and it is this very result. Ctrl-C leaves nothing behind.',
  examples: [
    'Merge, into the output that the recipe names\n<%= config.bin %> run recipe.yml',
    'Try another weight, into another folder\n<%= config.bin %> run recipe.yml --set merge.weights.math=0.7 -o ./math-07',
    'See what would happen\n<%= config.bin %> run recipe.yml --dry-run',
    'Run a mergekit configuration as it is\n<%= config.bin %> run mergekit.yml -o ./merged',
    'Use the models that terge lock pinned, and no others\n<%= config.bin %> run recipe.yml --locked',
    'Go on after a power cut\n<%= config.bin %> run recipe.yml --resume',
  ],
  args: { recipe: Args.string({ description: 'the recipe’s file', required: true, ignoreStdin: true }) },
  flags: {
    output: Flags.string({ char: 'o', helpValue: 'PATH', description: 'write here instead of where the recipe says' }),
    set,
    ...mergekitFlags,
    locked: onOff('use just the models that RECIPE.lock has, as terge lock wrote it'),
    ...runFlags,
  },
  async execute({ args, flags }) {
    await startEarly(flags)
    const { plan } = await import('../index.js')
    await perform(
      await plan(args.recipe, {
        strict: flags.strict,
        locked: flags.locked,
        set: setOf(flags),
        ...given({ output: flags.output }),
      }),
      flags,
    )
    return 0
  },
})
