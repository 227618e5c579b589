import path from 'node:path'
import { Fault } from '../core/diagnostics.js'
import { defineCommand } from './support/command.js'
import { holds, writeText } from './support/files.js'
import { Args, Flags, onOff, runFlags } from './support/flags.js'
import { onFlag } from './support/mergeErrors.js'
import { given } from './support/options.js'
import { perform, startEarly } from './support/perform.js'

const { 'allow-commands': _, ...commonFlags } = runFlags
const mergeFlags = { ...commonFlags, strict: onOff('fail on NaN or infinite results from finite inputs') }

const patterns = (description: string) =>
  Flags.string({ description, helpValue: 'PATTERN', multiple: true, multipleNonGreedy: true })

export const merge = defineCommand({
  id: 'merge',
  summary: 'Merge models without a recipe file.',
  description:
    'Builds a recipe from the flags and runs it; --save-recipe keeps it. File names become model names. Without --base, ' +
    'unmerged tensors are copied from the first model. Methods that use task vectors require --base, except on adapters alone.',
  examples: [
    'Average two models\n<%= config.bin %> merge a.safetensors b.safetensors -o mean.safetensors',
    'Interpolate one third of the way from a to b\n<%= config.bin %> merge a b --method slerp --param t=0.33 -o merged',
    'Add the task vectors of two fine-tunes to their base model\n<%= config.bin %> merge math code --base base --method task_arithmetic --weights 0.6,0.4 -o both',
    'Average a model with a LoRA adapter and another model\n<%= config.bin %> merge ./base+./adapter ./other -o merged',
    'Keep the recipe\n<%= config.bin %> merge a b --weights 2,1 -o merged --save-recipe merge.yml',
  ],
  args: {
    model: Args.string({
      description: 'model files or folders; MODEL+ADAPTER applies a LoRA adapter',
      required: true,
      multiple: true,
      ignoreStdin: true,
    }),
  },
  flags: {
    output: Flags.string({ char: 'o', helpValue: 'PATH', description: 'where to write', required: true }),
    method: Flags.string({
      description: 'merge method; terge methods lists them',
      helpValue: 'METHOD',
      default: 'linear',
    }),
    weights: Flags.string({ description: 'one weight per model, in order', helpValue: 'W,W' }),
    base: Flags.string({
      description: 'base model: defines names and shapes, and provides tensors that are not merged',
      helpValue: 'MODEL',
    }),
    include: patterns('merge only tensors that match'),
    exclude: patterns('copy tensors that match from the base'),
    param: Flags.string({
      description: 'method parameter',
      helpValue: 'NAME=VALUE',
      multiple: true,
      multipleNonGreedy: true,
    }),
    'save-recipe': Flags.string({ description: 'also write the recipe to this file', helpValue: 'FILE' }),
    ...mergeFlags,
  },
  async execute({ args, flags }) {
    const { method, output, weights, base, include, exclude, param } = flags
    const saved = flags['save-recipe']
    const folder = process.cwd()
    const recipeFolder = saved === undefined ? folder : path.dirname(path.resolve(saved))
    const line = { models: args.model, output, method, ...given({ weights, base, include, exclude, param }) }
    await startEarly(flags)
    const { plan, recipeOf } = await import('../index.js')
    const text = recipeOf(line, { folder, recipeFolder })
    // Without a file, paths are relative to the working folder.
    const found = await plan(saved ?? '(one line)', { text }).catch((error: unknown) => {
      throw error instanceof Fault ? new Fault(error.diagnostics.map(onFlag), error.exit) : error
    })
    const prepared = { ...found, diagnostics: found.diagnostics.map(onFlag) }
    if (saved !== undefined && !(await holds(saved, text))) await writeText(saved, text, flags)
    await perform(prepared, { ...flags, 'allow-commands': false })
    return 0
  },
})
