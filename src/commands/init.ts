import path from 'node:path'
import { defineCommand } from './support/command.js'
import { Args, chosenFormat, outputFile, resultFlags } from './support/flags.js'
import { tellRecipe } from './support/recipeText.js'

export const init = defineCommand({
  id: 'init',
  summary: 'Write a commented starter recipe for models.',
  description: 'The recipe is valid as it stands: their mean. Its comments show what one would change first.',
  examples: [
    'To standard output\n<%= config.bin %> init ./models/base ./models/math',
    'Into a file, with paths relative to it\n<%= config.bin %> init a.safetensors b.safetensors -o recipes/mean.yml',
    'As JSON, which is YAML too, without the comments\n<%= config.bin %> init a.safetensors b.safetensors --json',
  ],
  args: {
    model: Args.string({
      description: 'files or folders; +ADAPTER adds an adapter',
      required: true,
      multiple: true,
      ignoreStdin: true,
    }),
  },
  flags: { output: outputFile, ...resultFlags },
  async execute({ args, flags }) {
    const format = chosenFormat(flags, 'text')
    const terge = await import('../index.js')
    const folder = process.cwd()
    const recipeFolder = flags.output === undefined ? folder : path.dirname(path.resolve(flags.output))
    const recipe = await terge.init(args.model, { folder, recipeFolder })
    await tellRecipe(recipe, format, flags.output)
    return 0
  },
})
