import { widthOf } from '../ui/fit.js'
import { methodJson, methodsText, methodText } from '../ui/methods.js'
import { toJson } from '../ui/text.js'
import { defineCommand } from './support/command.js'
import { Args, chosenFormat, resultFlags } from './support/flags.js'
import { print } from './support/print.js'

export const methods = defineCommand({
  id: 'methods',
  summary: 'List the merge methods, or describe one in full.',
  description:
    'Shows what each method computes, its parameters and defaults, whether it needs a base model, and its paper.',
  examples: ['<%= config.bin %> methods', '<%= config.bin %> methods slerp', '<%= config.bin %> methods --json'],
  args: { name: Args.string({ description: 'method name', required: false, ignoreStdin: true }) },
  flags: resultFlags,
  async execute({ args, flags }) {
    const json = chosenFormat(flags, 'text') === 'json'
    const { findMethod, listMethods } = await import('../index.js')
    if (args.name === undefined) {
      const all = listMethods()
      print(json ? toJson(all.map(methodJson)) : methodsText(all, process.stdout.columns ?? 80))
      return 0
    }
    const method = findMethod(args.name)
    print(json ? toJson(methodJson(method)) : methodText(method, widthOf(process.stdout)))
    return 0
  },
})
