import { defineCommand } from './support/command.js'
import { Args, Flags, mergekitFlags, onOff, runFlags, set, setOf } from './support/flags.js'
import { given } from './support/options.js'
import { perform, startEarly } from './support/perform.js'

export const run = defineCommand({
  id: 'run',
  summary: 'Run a recipe.',
  description:
    'Checks the recipe, plans from file headers, runs the plan, and writes each output and its lineage. ' +
    'Refuses to replace an existing output without --force. With --resume, keeps an existing output if it is the same result. Ctrl-C leaves no files behind, except with --resume.',
  examples: [
    'Run a recipe\n<%= config.bin %> run recipe.yml',
    'Try another weight and write to another folder\n<%= config.bin %> run recipe.yml --set merge.weights.math=0.7 -o ./math-07',
    'Show the plan without running it\n<%= config.bin %> run recipe.yml --dry-run',
    'Run a mergekit configuration\n<%= config.bin %> run mergekit.yml -o ./merged',
    'Use only the models that terge lock pinned\n<%= config.bin %> run recipe.yml --locked',
    'Resume an interrupted run\n<%= config.bin %> run recipe.yml --resume',
    'Upload the result to the hub\n<%= config.bin %> run recipe.yml -o hf:org/name@branch',
  ],
  args: { recipe: Args.string({ description: 'recipe file', required: true, ignoreStdin: true }) },
  flags: {
    output: Flags.string({
      char: 'o',
      helpValue: 'PATH',
      description: 'output path or address; overrides the recipe’s',
    }),
    set,
    ...mergekitFlags,
    work: Flags.string({
      helpValue: 'DIR',
      description: 'folder for outputs on their way to the hub or a store (default: in terge’s cache)',
    }),
    locked: onOff('use only the models in RECIPE.lock, written by terge lock'),
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
