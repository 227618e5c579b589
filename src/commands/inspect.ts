import { naturalOrder } from '../core/collections/naturalOrder.js'
import { fault } from '../core/diagnostics.js'
import { widthOf } from '../ui/fit.js'
import { inspectText, tensorJson } from '../ui/inspect.js'
import { toJson } from '../ui/text.js'
import { defineCommand } from './support/command.js'
import { Args, chosenFormat, Flags, onOff, resultFlags } from './support/flags.js'
import { matching } from './support/matching.js'
import { print } from './support/print.js'

export const inspect = defineCommand({
  id: 'inspect',
  summary: 'Show what a model contains.',
  description:
    'Lists the name, dtype, shape and size of each tensor, the metadata, the layers and the parameter count. Reads only file headers.',
  examples: [
    '<%= config.bin %> inspect ./models/math-7b',
    'Show the attention tensors of one layer\n<%= config.bin %> inspect model.safetensors --filter "model.layers.0.self_attn.**"',
    'Print JSON\n<%= config.bin %> inspect model.safetensors --json',
    'Print the permutation spec, to edit and use in a recipe\n<%= config.bin %> inspect model.safetensors --spec --json',
  ],
  args: { model: Args.string({ description: 'model file or folder', required: false, ignoreStdin: true }) },
  flags: {
    spec: onOff(
      'show the permutation spec that rebasin infers: groups, sizes and axes; with --json, in the format that recipes use',
    ),
    layout: onOff('show which layouts the model has, how certain that is, and which others it can be read as'),
    layouts: onOff('list all layouts that terge knows; without a model'),
    filter: Flags.string({
      description: 'list only tensors that match; same syntax as in recipes',
      helpValue: 'PATTERN',
    }),
    ...resultFlags,
  },
  async execute({ args, flags }) {
    const format = chosenFormat(flags, 'text')
    const { checkpointFacts, inspect, listedTensors, listLayouts, modelLayouts, permutationSpec } = await import(
      '../index.js'
    )
    if (flags.layouts) {
      if (args.model !== undefined || flags.layout || flags.spec || flags.filter !== undefined)
        throw fault('bad-flag', '--layouts lists what terge knows, and takes nothing else', 'for a model: --layout')
      const { layoutsText } = await import('../ui/layouts.js')
      print(format === 'json' ? toJson(listLayouts()) : layoutsText(listLayouts(), widthOf(process.stdout)))
      return 0
    }
    if (args.model === undefined)
      throw fault('missing-argument', 'terge inspect requires MODEL', 'run terge inspect --help')
    const checkpoint = await inspect(args.model)
    const { tensors } = checkpoint
    if (flags.layout) {
      if (flags.spec || flags.filter !== undefined)
        throw fault(
          'bad-flag',
          `--layout and --${flags.spec ? 'spec' : 'filter'} cannot be used together`,
          'run them apart',
        )
      const { modelLayoutsText } = await import('../ui/layouts.js')
      const found = modelLayouts(checkpoint)
      print(format === 'json' ? toJson(found) : modelLayoutsText(args.model, found, widthOf(process.stdout)))
      return 0
    }
    if (flags.spec) {
      if (flags.filter !== undefined)
        throw fault(
          'bad-flag',
          '--spec and --filter cannot be used together',
          'a spec always describes the whole model',
        )
      const found = await permutationSpec(checkpoint)
      const { specText } = await import('../ui/spec.js')
      print(format === 'json' ? toJson(found.text) : specText(found, tensors))
      return 0
    }
    const names = flags.filter === undefined ? undefined : matching(tensors.keys(), flags.filter)
    const shown = listedTensors(checkpoint)
      .filter(({ name }) => names === undefined || names.has(name))
      .sort((a, b) => naturalOrder(a.name, b.name))
    const facts = checkpointFacts(checkpoint)
    print(
      format === 'json'
        ? toJson({ ...facts, list: shown.map(tensorJson) })
        : inspectText(facts, shown, widthOf(process.stdout)),
    )
    return 0
  },
})
