import path from 'node:path'
import { defineCommand } from './support/command.js'
import { Args, chosenFormat, force, outputFile, resultFlags } from './support/flags.js'
import { writeRecipe } from './support/recipeText.js'

export const init = defineCommand({
  id: 'init',
  summary: 'Write a commented starter recipe for models.',
  description: 'The recipe averages the models and is valid as written. Its comments show common changes.',
  examples: [
    'Print to standard output\n<%= config.bin %> init ./models/base ./models/math',
    'Write to a file, with paths relative to it\n<%= config.bin %> init a.safetensors b.safetensors -o recipes/mean.yml',
    'Print as JSON (also valid YAML), without comments\n<%= config.bin %> init a.safetensors b.safetensors --json',
  ],
  args: {
    model: Args.string({
      description: 'model files or folders; append +ADAPTER to apply an adapter',
      required: true,
      multiple: true,
      ignoreStdin: true,
    }),
  },
  flags: { output: outputFile, force, ...resultFlags },
  async execute({ args, flags }) {
    const format = chosenFormat(flags, 'text')
    const terge = await import('../index.js')
    const folder = process.cwd()
    const recipeFolder = flags.output === undefined ? folder : path.dirname(path.resolve(flags.output))
    const recipe = await terge.init(args.model, { folder, recipeFolder })
    await writeRecipe(recipe, format, flags)
    return 0
  },
})
