import { diffText } from '../ui/diff.js'
import { widthOf } from '../ui/fit.js'
import { showsUnicode } from '../ui/progress/bar.js'
import { toJson } from '../ui/text.js'
import { defineCommand } from './support/command.js'
import { Args, chosenFormat, Flags, onOff, resultFlags } from './support/flags.js'
import { matching } from './support/matching.js'
import { given } from './support/options.js'
import { withProgress } from './support/perform.js'
import { print } from './support/print.js'

export const diff = defineCommand({
  id: 'diff',
  summary: 'Compare two models tensor by tensor.',
  description:
    'Prints overall figures, then the tensors that differ, the most different first: cosine similarity, relative L2 distance ' +
    'and the largest difference. Then a bar per layer. Exits with 0 unless --exit-code is given.',
  examples: [
    '<%= config.bin %> diff a.safetensors b.safetensors',
    'Compare only attention tensors, equal ones too\n<%= config.bin %> diff a b --filter "**.self_attn.**" --all',
    'Fail in a script when two models differ\n<%= config.bin %> diff expected merged --exit-code',
  ],
  args: {
    a: Args.string({ description: 'model file or folder', required: true, ignoreStdin: true }),
    b: Args.string({ description: 'model file or folder to compare with', required: true, ignoreStdin: true }),
  },
  flags: {
    filter: Flags.string({
      description: 'compare only tensors that match; same syntax as in recipes',
      helpValue: 'PATTERN',
    }),
    all: onOff('also list tensors that are equal'),
    'exit-code': onOff('exit with 1 if the models differ'),
    ...resultFlags,
  },
  async execute({ args, flags }) {
    const format = chosenFormat(flags, 'text')
    const terge = await import('../index.js')
    let names: ReadonlySet<string> | undefined
    if (flags.filter !== undefined) {
      const [a, b] = [await terge.inspect(args.a), await terge.inspect(args.b)]
      names = matching(new Set([...a.tensors.keys(), ...b.tensors.keys()]), flags.filter, 'models')
    }
    const only = names
    const filter = only && ((name: string): boolean => only.has(name))
    const json = format === 'json'
    const found = await withProgress(
      json,
      (listen, signal) => terge.diff(args.a, args.b, { listen, signal, ...given({ filter }) }),
      ['comparing'],
    )
    const terminal = process.stdout.isTTY
    const look = { all: flags.all, width: widthOf(process.stdout), unicode: terminal && showsUnicode(process.env) }
    print(json ? toJson(found) : diffText(found, look))
    return flags['exit-code'] && found.overall.states.equal < found.overall.tensors ? 1 : 0
  },
})
