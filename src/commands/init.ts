import path from 'node:path'
import { defineCommand } from './command.js'
import { isThere } from './files.js'
import { Args, chosenFormat, outputFile, resultFlags } from './flags.js'
import { nameModels } from './oneLine.js'
import { tellRecipe } from './recipeText.js'
import { starterRecipe } from './starter.js'

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
    const [{ inspect }, { layerCount, layerOf }] = await Promise.all([
      import('../lineage/session.js'),
      import('../plan/layers.js'),
    ])
    const folder = process.cwd()
    const recipeFolder = flags.output === undefined ? folder : path.dirname(path.resolve(flags.output))
    const named = nameModels(args.model, folder, recipeFolder, isThere)
    const models = []
    for (const { model, adapter } of named) {
      models.push(await inspect(model))
      if (adapter !== undefined) await inspect(adapter)
    }
    const first = models[0]!
    const names = [...first.tensors.keys()]
    const tensor = names.find((name) => layerOf(name) !== undefined) ?? names[0] ?? '**'
    const recipe = starterRecipe(named, first.layout === 'file' ? 'merged.safetensors' : 'merged', {
      tensor,
      layers: layerCount(names),
    })
    await tellRecipe(recipe, format, flags.output)
    return 0
  },
})
