import { formatSize } from '../../core/sizes.js'
import { counted } from '../../core/words.js'
import { printable, toJson } from '../../ui/text.js'
import { defineCommand } from '../support/command.js'
import { replaceText } from '../support/files.js'
import { Args, chosenFormat, machineFlags, resultFlags, set } from '../support/flags.js'
import { given } from '../support/options.js'
import { threadsOf, withProgress } from '../support/perform.js'
import { complain, print } from '../support/print.js'

export const lock = defineCommand({
  id: 'lock',
  summary: 'Pin the models of a recipe: commits, files and digests.',
  description:
    'Writes RECIPE.lock next to the recipe and replaces an existing one. Downloads models from the hub and reads every file. ' +
    'terge run --locked then uses exactly these models and reports what differs, even if a branch has moved.',
  examples: ['<%= config.bin %> lock recipe.yml', 'Use the pinned models\n<%= config.bin %> run recipe.yml --locked'],
  args: { recipe: Args.string({ description: 'recipe file', required: true, ignoreStdin: true }) },
  flags: { set, threads: machineFlags.threads, ...resultFlags },
  async execute({ args, flags }) {
    const json = chosenFormat(flags, 'text') === 'json'
    const terge = await import('../../index.js')
    const made = await withProgress(
      json,
      (listen, signal) =>
        terge.lock(args.recipe, { threads: threadsOf(flags), ...given({ set: flags.set }), listen, signal }),
      ['locking'],
    )
    await replaceText(made.path, made.text)
    complain(made.diagnostics)
    const { models } = made.lock
    const files = Object.values(models).flatMap((model) => model.files)
    const bytes = files.reduce((sum, { size }) => sum + size, 0)
    if (json) print(toJson({ path: made.path, ...made.lock }))
    else {
      const what = `${counted(Object.keys(models).length, 'model')}, ${counted(files.length, 'file')}, ${formatSize(bytes)}`
      print(`wrote ${printable(made.path)}: ${what}`)
    }
    return 0
  },
})
