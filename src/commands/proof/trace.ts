import { widthOf } from '../../ui/fit.js'
import { toJson } from '../../ui/text.js'
import { traceText } from '../../ui/trace.js'
import { defineCommand } from '../support/command.js'
import { Args, chosenFormat, recipeFolder, resultFlags } from '../support/flags.js'
import { given } from '../support/options.js'
import { print } from '../support/print.js'

export const trace = defineCommand({
  id: 'trace',
  summary: 'Show where a tensor came from, through all generations.',
  description:
    'Follows the lineage of an output, and the lineages beside its inputs if their recorded digests agree. Prints what the tensor ' +
    'was made from, and the effective weight of each original model, summed over all ways, where every method on the way is linear: ' +
    'linear, task_arithmetic, passthrough, copies, stacks, permutations, LoRA and sums of LoRA. Reads no tensors.',
  examples: [
    '<%= config.bin %> trace merged model.layers.0.mlp.down_proj.weight',
    'Print JSON\n<%= config.bin %> trace merged.safetensors model.norm.weight --json',
  ],
  args: {
    lineage: Args.string({
      description: 'lineage file, output folder or checkpoint file',
      required: true,
      ignoreStdin: true,
    }),
    tensor: Args.string({ description: 'name of a tensor of the output', required: true, ignoreStdin: true }),
  },
  flags: { 'recipe-folder': recipeFolder, ...resultFlags },
  async execute({ args, flags }) {
    const json = chosenFormat(flags, 'text') === 'json'
    const terge = await import('../../index.js')
    const found = await terge.trace(args.lineage, args.tensor, given({ recipeFolder: flags['recipe-folder'] }))
    print(json ? toJson(found) : traceText(found, widthOf(process.stdout)))
    return 0
  },
})
