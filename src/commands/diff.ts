import { fault } from '../core/diagnostics.js'
import { diffText } from '../ui/diff.js'
import { widthOf } from '../ui/fit.js'
import { showsColours } from '../ui/problems.js'
import { showsUnicode } from '../ui/progress/bar.js'
import { differenceText } from '../ui/review/text.js'
import { toJson } from '../ui/text.js'
import { defineCommand } from './support/command.js'
import { Args, chosenFormat, Flags, onOff, resultFlags } from './support/flags.js'
import { matching } from './support/matching.js'
import { given } from './support/options.js'
import { withProgress } from './support/perform.js'
import { print } from './support/print.js'

export const diff = defineCommand({
  id: 'diff',
  summary: 'Compare two models tensor by tensor, or two lineages.',
  description:
    'Prints overall figures, then the tensors that differ, the most different first: cosine similarity, relative L2 distance ' +
    'and the largest difference. Then a bar per layer. Exits with 0 unless --exit-code is given. Of two lineage files, it prints ' +
    'what was done differently: models, methods, weights and parameters, and which tensors have other bytes.',
  examples: [
    '<%= config.bin %> diff a.safetensors b.safetensors',
    'Compare only attention tensors, equal ones too\n<%= config.bin %> diff a b --filter "**.self_attn.**" --all',
    'Compare what was done\n<%= config.bin %> diff first/lineage.json second/lineage.json',
    'Fail in a script when two models differ\n<%= config.bin %> diff expected merged --exit-code',
  ],
  args: {
    a: Args.string({ description: 'model file or folder, or lineage', required: true, ignoreStdin: true }),
    b: Args.string({
      description: 'model file or folder to compare with, or lineage',
      required: true,
      ignoreStdin: true,
    }),
  },
  flags: {
    filter: Flags.string({
      description: 'compare only tensors that match; same syntax as in recipes',
      helpValue: 'PATTERN',
    }),
    all: onOff('also list tensors that are equal'),
    'exit-code': onOff('exit with 1 if the models or outputs differ'),
    ...resultFlags,
  },
  async execute({ args, flags }) {
    const format = chosenFormat(flags, 'text')
    const terge = await import('../index.js')
    if (isLineage(args.a) || isLineage(args.b)) {
      refuseForModels(flags)
      const found = await terge.compareLineages(args.a, args.b)
      const inColour = showsColours(process.stdout, process.env)
      print(format === 'json' ? toJson(found) : differenceText(found, widthOf(process.stdout), inColour))
      return flags['exit-code'] && found.bytes !== 'same' ? 1 : 0
    }
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

/** Whether this is a lineage file, and not the index of a model. */
const isLineage = (given: string): boolean => /(^|[\\/.])lineage\.json$/.test(given)

/** Error: `bad-flag` for flags that compare values of models. */
function refuseForModels(flags: { readonly filter?: string | undefined; readonly all: boolean }): void {
  if (flags.filter !== undefined || flags.all)
    throw fault(
      'bad-flag',
      `${flags.all ? '--all' : '--filter'} compares models, not lineages`,
      'remove the flag, or give two models',
    )
}
