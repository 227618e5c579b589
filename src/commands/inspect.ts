import { fault } from '../core/diagnostics.js'
import { compilePattern } from '../core/patterns.js'
import { nearest, quote } from '../core/suggest.js'
import { checkpointFacts, inspectText, tensorJson } from '../ui/inspect.js'
import { toJson } from '../ui/text.js'
import { defineCommand } from './command.js'
import { Args, chosenFormat, Flags, resultFlags } from './flags.js'
import { print } from './print.js'

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
  ],
  args: { model: Args.string({ description: 'a file or folder', required: true, ignoreStdin: true }) },
  flags: {
    filter: Flags.string({ description: 'list only tensors that match, as in a recipe', helpValue: 'PATTERN' }),
    ...resultFlags,
  },
  async execute({ args, flags }) {
    const format = chosenFormat(flags, 'text')
    const session = await import('../lineage/session.js')
    const checkpoint = await session.inspect(args.model)
    const { tensors } = checkpoint
    const names = flags.filter === undefined ? undefined : matching(tensors.keys(), flags.filter)
    const shown = [...tensors.values()].filter(({ name }) => names === undefined || names.has(name))
    print(
      format === 'json'
        ? toJson({ ...checkpointFacts(checkpoint), list: shown.map(tensorJson) })
        : inspectText(checkpoint, shown),
    )
    return 0
  },
})
