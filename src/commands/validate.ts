import { hasErrors } from '../core/diagnostics.js'
import { githubAnnotation, verdict } from '../ui/problems.js'
import { toJson } from '../ui/text.js'
import { defineCommand } from './support/command.js'
import { Args, chosenFormat, formatFlag, json, onOff, set, strict } from './support/flags.js'
import { given } from './support/options.js'
import { complain, print } from './support/print.js'

const FORMATS = ['text', 'json', 'github'] as const

export const validate = defineCommand({
  id: 'validate',
  summary: 'Report every error in recipes, without merging.',
  description:
    'Reports each error with line, column and a hint. Also reads the models’ headers to check patterns, shapes and weights; ' +
    '--no-models checks only the text. Exits with 2 if a recipe has an error.',
  examples: [
    '<%= config.bin %> validate recipe.yml',
    'Check only the text of all recipes\n<%= config.bin %> validate --no-models recipes/*.yml',
    'Annotate errors in a GitHub workflow\n<%= config.bin %> validate recipe.yml --format github',
  ],
  args: { recipe: Args.string({ description: 'recipe files', required: true, multiple: true, ignoreStdin: true }) },
  flags: {
    set,
    'no-models': onOff('check only the text'),
    strict,
    format: formatFlag(FORMATS, 'output format'),
    json,
  },
  async execute({ args, flags }) {
    const format = chosenFormat(flags, 'text')
    const terge = await import('../index.js')
    const results = []
    for (const file of args.recipe) {
      const { diagnostics } = await terge.validate(file, {
        models: !flags['no-models'],
        strict: flags.strict,
        ...given({ set: flags.set }),
      })
      results.push({ file, valid: !hasErrors(diagnostics), diagnostics })
    }
    if (format === 'json') print(toJson(results))
    for (const { file, diagnostics } of results) {
      if (format === 'github') for (const diagnostic of diagnostics) print(githubAnnotation(diagnostic, file))
      if (format !== 'text') continue
      complain(diagnostics)
      print(verdict(file, diagnostics))
    }
    return results.every(({ valid }) => valid) ? 0 : 2
  },
})
