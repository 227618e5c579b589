import { defineCommand } from './support/command.js'
import {
  Args,
  chosenFormat,
  Flags,
  licenses,
  mergekitFlags,
  runFlags,
  set,
  setOf,
  trustFlags,
} from './support/flags.js'
import { given } from './support/options.js'
import { partFlags, performPart, refuseMixed } from './support/parts.js'
import { perform, showLicenses, startEarly } from './support/perform.js'

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
    'The same, with a lock that must be signed\n<%= config.bin %> run recipe.yml --locked --key key.pub.pem',
    'Resume an interrupted run\n<%= config.bin %> run recipe.yml --resume',
    'Upload the result to the hub\n<%= config.bin %> run recipe.yml -o hf:org/name@branch',
    'Do the first of 16 parts, on any of several machines\n<%= config.bin %> run recipe.yml --part 0/16',
    'Publish the outputs when all parts are done\n<%= config.bin %> run recipe.yml --finish',
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
    ...trustFlags,
    licenses,
    ...partFlags,
    ...runFlags,
  },
  async execute({ args, flags }) {
    const part = refuseMixed(flags, process.env)
    await startEarly({ ...flags, 'dry-run': flags['dry-run'] || flags.licenses })
    const { plan } = await import('../index.js')
    const prepared = await plan(args.recipe, {
      strict: flags.strict,
      locked: flags.locked,
      set: setOf(flags),
      requireSigned: flags['require-signed-models'],
      ...given({ output: flags.output, key: flags.key, certificate: flags.certificate }),
    })
    if (flags.licenses) await showLicenses(prepared, chosenFormat(flags, 'text') === 'json')
    else await (part === undefined ? perform(prepared, flags) : performPart(prepared, part, flags))
    return 0
  },
})
