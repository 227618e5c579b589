import type { SearchResult } from '../index.js'
import { rendererKind } from '../ui/progress/renderer.js'
import { searchRenderer } from '../ui/search/progress.js'
import { searchText } from '../ui/search/result.js'
import { toJson } from '../ui/text.js'
import { defineCommand } from './support/command.js'
import { Args, chosenFormat, Flags, machineFlags, onOff, resultFlags, set, setOf } from './support/flags.js'
import { given } from './support/options.js'
import { threadsOf } from './support/perform.js'
import { print } from './support/print.js'
import { interruptible } from './support/signals.js'

export const search = defineCommand({
  id: 'search',
  summary: 'Search values of a recipe that make a metric better.',
  description:
    'Varies the values that the recipe’s search lists. Makes a checkpoint for each trial, evaluates it, and drops it. ' +
    'Records trials in NAME.trials.jsonl and writes the best recipe to NAME.best.yml and a page to NAME.search.html. ' +
    'Makes the best checkpoint again at the recipe’s output, evaluates it again, and compares. ' +
    'The same seed gives the same trials, however many run at the same time. Ctrl-C keeps finished trials.',
  examples: [
    'Search, and run the recipe’s evaluate command\n<%= config.bin %> search recipe.yml --allow-commands',
    'Continue an interrupted search\n<%= config.bin %> search recipe.yml --allow-commands --resume',
    'Try more trials, two at a time\n<%= config.bin %> search recipe.yml --allow-commands --set search.trials=100 --set search.parallel=2',
  ],
  args: { recipe: Args.string({ description: 'recipe file', required: true, ignoreStdin: true }) },
  flags: {
    output: Flags.string({
      char: 'o',
      helpValue: 'PATH',
      description: 'path or address of the best checkpoint; overrides the recipe’s',
    }),
    set,
    ...machineFlags,
    resume: onOff('continue the search of NAME.trials.jsonl'),
    force: onOff('replace the files of an earlier search and an existing output; with --resume, only the output'),
    'allow-commands': onOff('run the recipe’s evaluate command, which can be any program'),
    work: Flags.string({
      helpValue: 'FOLDER',
      description: 'folder for checkpoints on their way to the hub or S3 (default: in terge’s cache)',
    }),
    'no-sync': onOff('skip fsync'),
    ...resultFlags,
  },
  async execute({ args, flags }) {
    const json = chosenFormat(flags, 'text') === 'json'
    const terge = await import('../index.js')
    const kind = rendererKind(json, process.stderr, process.env)
    const { listen, stopping, finish } = await searchRenderer(kind, process.stderr)
    const result = await interruptible(async (signal) => {
      let outcome: 'done' | 'failed' = 'failed'
      try {
        const found = await terge.search(args.recipe, {
          set: setOf(flags),
          threads: threadsOf(flags),
          ...given({ memory: flags.memory, output: flags.output, work: flags.work }),
          resume: flags.resume,
          force: flags.force,
          commands: flags['allow-commands'] ? 'run' : 'refuse',
          sync: !flags['no-sync'],
          ...{ listen, signal },
        })
        outcome = 'done'
        return found
      } finally {
        await finish(outcome)
      }
    }, stopping)
    print(json ? toJson(searchJson(result)) : searchText(result, process.cwd(), process.stdout.columns || 80))
    return 0
  },
})

const searchJson = ({ record, best, repeat, files, run, seconds }: SearchResult) => ({
  trials: record.trials.length,
  failed: record.trials.filter(({ state }) => state === 'failed').length,
  end: record.end,
  best,
  repeat,
  files,
  output: run.outputs[0]!.path,
  lineage: run.outputs[0]!.lineagePath,
  warnings: run.warnings,
  seconds,
})
