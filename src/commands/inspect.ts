import { fault } from '../core/diagnostics.js'
import { compilePattern } from '../core/patterns.js'
import { nearest, quote } from '../core/suggest.js'
import { inspectText, tensorJson } from '../ui/inspect.js'
import { toJson } from '../ui/text.js'
import { defineCommand } from './support/command.js'
import { Args, chosenFormat, Flags, onOff, resultFlags } from './support/flags.js'
import { print } from './support/print.js'

const near = (text: string, names: readonly string[]): string | undefined => {
  const [best] = nearest(text, names, 1)
  return best === undefined
    ? names[0] && `its tensors are called such as ${quote(names[0])}`
    : `did you mean ${quote(best)}?`
}

/** Those of the names that a pattern matches. Faults: `bad-pattern`, `unmatched-pattern`. */
function matching(names: Iterable<string>, text: string): Set<string> {
  const pattern = compilePattern(text)
  if (pattern.kind === 'fault') throw fault('bad-pattern', `${quote(text)}: ${pattern.message}`)
  const all = [...names]
  const found = new Set(all.filter(pattern.matches))
  if (found.size === 0)
    throw fault('unmatched-pattern', `${quote(text)} matches no tensor of the model`, near(text, all))
  return found
}

export const inspect = defineCommand({
  id: 'inspect',
  summary: 'Show what is in a model, from its headers.',
  description:
    'Names, dtypes, shapes and sizes of tensors, metadata, layers and the parameter count. Reads no tensor data.',
  examples: [
    '<%= config.bin %> inspect ./models/math-7b',
    'The attention of one layer\n<%= config.bin %> inspect model.safetensors --filter "model.layers.0.self_attn.**"',
    'For a program\n<%= config.bin %> inspect model.safetensors --json',
    'How rebasin would permute it, to be changed and named in a recipe\n<%= config.bin %> inspect model.safetensors --spec --json',
  ],
  args: { model: Args.string({ description: 'a file or folder', required: true, ignoreStdin: true }) },
  flags: {
    spec: onOff(
      'show the permutation spec that rebasin finds: groups, sizes, axes; as JSON, in the form that a recipe takes',
    ),
    filter: Flags.string({ description: 'list only tensors that match, as in a recipe', helpValue: 'PATTERN' }),
    ...resultFlags,
  },
  async execute({ args, flags }) {
    const format = chosenFormat(flags, 'text')
    const { checkpointFacts, inspect, permutationSpec } = await import('../index.js')
    const checkpoint = await inspect(args.model)
    const { tensors } = checkpoint
    if (flags.spec) {
      if (flags.filter !== undefined)
        throw fault('bad-flag', '--spec and --filter contradict each other', 'a spec is one of the whole model')
      const found = await permutationSpec(checkpoint)
      const { specText } = await import('../ui/spec.js')
      print(format === 'json' ? toJson(found.text) : specText(found, tensors))
      return 0
    }
    const names = flags.filter === undefined ? undefined : matching(tensors.keys(), flags.filter)
    const shown = [...tensors.values()].filter(({ name }) => names === undefined || names.has(name))
    const facts = checkpointFacts(checkpoint)
    print(format === 'json' ? toJson({ ...facts, list: shown.map(tensorJson) }) : inspectText(facts, shown))
    return 0
  },
})
