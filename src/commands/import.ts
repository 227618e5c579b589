import path from 'node:path'
import { fault } from '../core/diagnostics.js'
import { quote } from '../core/suggest.js'
import { defineCommand } from './support/command.js'
import { Args, chosenFormat, Flags, force, outputFile, resultFlags, strict } from './support/flags.js'
import { given } from './support/options.js'
import { complain } from './support/print.js'
import { writeRecipe } from './support/recipeText.js'

export const importConfig = defineCommand({
  id: 'import',
  summary: 'Convert a configuration of mergekit, or block weights, to a recipe.',
  description:
    'Prints the recipe of a configuration for mergekit-yaml, mergekit-multi or mergekit-moe. terge run also runs the ' +
    'configuration directly. Convert it to review or change it as a recipe. ' +
    'Looks for models in the configuration’s folder, then in the working folder, then on the hub. If the models are on this ' +
    'machine, also checks filters against their tensor names. With --mbw, the arguments are models of Stable Diffusion: ' +
    'A and B for A + α (B − A), or A, B and C for A + α (B − C), with a weight α per block.',
  examples: [
    '<%= config.bin %> import mergekit.yml',
    'Write to a file, with paths relative to it\n<%= config.bin %> import mergekit.yml -o recipes/merge.yml',
    'Print as JSON (also valid YAML)\n<%= config.bin %> import mergekit.yml --json',
    'Fail on keys and parameters that mergekit would ignore\n<%= config.bin %> import mergekit.yml --strict',
    'Weights per block, from a file of presets\n<%= config.bin %> import --mbw mbwpresets.txt:GRAD_V a.safetensors b.safetensors -o merge.yml',
  ],
  args: {
    config: Args.string({
      description: 'configuration file; with --mbw: models',
      required: true,
      multiple: true,
      ignoreStdin: true,
    }),
  },
  flags: {
    output: outputFile,
    force,
    strict,
    mbw: Flags.string({
      description: 'weights per block: 25 or 19 numbers, one more with BASE first, a file, or FILE:NAME for a preset',
      helpValue: 'NUMBERS|FILE',
    }),
    'mbw-base': Flags.string({
      description: 'weight of tensors outside blocks, for 25 or 19 numbers',
      helpValue: 'NUMBER',
    }),
    ...resultFlags,
  },
  async execute({ args, flags }) {
    const format = chosenFormat(flags, 'text')
    const folder = flags.output === undefined ? undefined : path.dirname(path.resolve(flags.output))
    await writeRecipe(
      await (flags.mbw === undefined ? fromMergekit : fromBlocks)(args.config, flags, folder),
      format,
      flags,
    )
    return 0
  },
})

interface Given {
  readonly strict: boolean
  readonly mbw?: string | undefined
  readonly 'mbw-base'?: string | undefined
}

async function fromMergekit([config = '', ...more]: readonly string[], flags: Given, folder?: string): Promise<string> {
  if (flags['mbw-base'] !== undefined) throw fault('bad-flag', '--mbw-base needs --mbw', 'add --mbw NUMBERS')
  if (more.length > 0)
    throw fault(
      'bad-usage',
      `unexpected argument ${quote(more[0]!)}: only one configuration can be converted`,
      'add --mbw to merge models with a weight per block',
    )
  const { importMergekit } = await import('../index.js')
  const { text, diagnostics } = await importMergekit(config, { strict: flags.strict, ...given({ folder }) })
  complain(diagnostics)
  return text
}

async function fromBlocks(models: readonly string[], flags: Given, recipeFolder?: string): Promise<string> {
  if (flags.strict)
    throw fault('bad-flag', '--strict applies to mergekit configurations, not to --mbw', 'remove one of them')
  const written = flags['mbw-base']
  const base = written === undefined ? undefined : Number(written)
  if (written?.trim() === '' || (base !== undefined && !Number.isFinite(base)))
    throw fault('bad-flag', `--mbw-base must be a number, not ${quote(written!)}`, 'write --mbw-base 0.5')
  const { importBlockWeights } = await import('../index.js')
  return importBlockWeights(flags.mbw!, models, given({ base, recipeFolder }))
}
