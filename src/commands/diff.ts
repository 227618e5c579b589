import { diffText } from '../ui/diff.js'
import { toJson } from '../ui/text.js'
import { defineCommand } from './support/command.js'
import { Args, chosenFormat, onOff, resultFlags } from './support/flags.js'
import { print } from './support/print.js'
import { interruptible } from './support/signals.js'

export const diff = defineCommand({
  id: 'diff',
  summary: 'Compare two models tensor by tensor.',
  description:
    'Prints cosine similarity, relative L2 distance and the largest difference per tensor. Exits with 0 unless --exit-code is given.',
  examples: [
    '<%= config.bin %> diff a.safetensors b.safetensors',
    'Fail in a script when two models differ\n<%= config.bin %> diff expected merged --exit-code',
  ],
  args: {
    a: Args.string({ description: 'model file or folder', required: true, ignoreStdin: true }),
    b: Args.string({ description: 'model file or folder to compare with', required: true, ignoreStdin: true }),
  },
  flags: {
    'exit-code': onOff('exit with 1 if the models differ'),
    ...resultFlags,
  },
  async execute({ args, flags }) {
    const format = chosenFormat(flags, 'text')
    const terge = await import('../index.js')
    const rows = await interruptible((signal) => terge.diff(args.a, args.b, { signal }))
    print(format === 'json' ? toJson(rows) : diffText(rows))
    return flags['exit-code'] && rows.some(({ state }) => state !== 'equal') ? 1 : 0
  },
})
