import { fault } from '../core/diagnostics.js'
import { didYouMean, quote } from '../core/suggest.js'
import { methodJson, methodsText, methodText } from '../ui/methods.js'
import { toJson } from '../ui/text.js'
import { defineCommand } from './command.js'
import { Args, chosenFormat, resultFlags } from './flags.js'
import { print } from './print.js'

export const methods = defineCommand({
  id: 'methods',
  summary: 'List the merge methods, or tell one of them whole.',
  description:
    'What each computes, its parameters with their defaults, what it needs as base, and the paper it comes from.',
  examples: ['<%= config.bin %> methods', '<%= config.bin %> methods slerp', '<%= config.bin %> methods --json'],
  args: { name: Args.string({ description: 'a method’s name', required: false, ignoreStdin: true }) },
  flags: resultFlags,
  async execute({ args, flags }) {
    const json = chosenFormat(flags, 'text') === 'json'
    const { lookupMethod, METHOD_NAMES, METHODS } = await import('../methods/registry.js')
    if (args.name === undefined) {
      print(json ? toJson(METHODS.map(methodJson)) : methodsText(METHODS))
      return 0
    }
    const method = lookupMethod(args.name)
    if (!method)
      throw fault(
        'unknown-method',
        `there is no method ${quote(args.name)}`,
        didYouMean(args.name, METHOD_NAMES, 'methods'),
      )
    print(json ? toJson(methodJson(method)) : methodText(method))
    return 0
  },
})
