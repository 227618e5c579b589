import path from 'node:path'
import { defineCommand } from './support/command.js'
import { Args, chosenFormat, force, outputFile, resultFlags, strict } from './support/flags.js'
import { given } from './support/options.js'
import { complain } from './support/print.js'
import { writeRecipe } from './support/recipeText.js'

export const importConfig = defineCommand({
  id: 'import',
  summary: 'Convert a mergekit configuration to a recipe and print it.',
  description:
    'terge run also runs a mergekit configuration directly. Convert it to review or change it as a recipe. ' +
    'Looks for models in the configuration’s folder, then in the working folder, then on the hub. If the models are on this ' +
    'machine, also checks filters against their tensor names.',
  examples: [
    '<%= config.bin %> import mergekit.yml',
    'Write to a file, with paths relative to it\n<%= config.bin %> import mergekit.yml -o recipes/merge.yml',
    'Print as JSON (also valid YAML)\n<%= config.bin %> import mergekit.yml --json',
    'Fail on keys and parameters that mergekit would ignore\n<%= config.bin %> import mergekit.yml --strict',
  ],
  args: { config: Args.string({ description: 'configuration file', required: true, ignoreStdin: true }) },
  flags: {
    output: outputFile,
    force,
    strict,
    ...resultFlags,
  },
  async execute({ args, flags }) {
    const format = chosenFormat(flags, 'text')
    const { importMergekit } = await import('../index.js')
    const folder = flags.output === undefined ? undefined : path.dirname(path.resolve(flags.output))
    const { text, diagnostics } = await importMergekit(args.config, { strict: flags.strict, ...given({ folder }) })
    complain(diagnostics)
    await writeRecipe(text, format, flags)
    return 0
  },
})
