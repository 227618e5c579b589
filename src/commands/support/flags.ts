/** Flags that several commands share, each declared once. */
import argBuilders from '@oclif/core/args'
import flagBuilders from '@oclif/core/flags'
import { fault } from '../../core/diagnostics.js'
import { parseSize } from '../../core/sizes.js'
import { quote } from '../../core/suggest.js'
import type { Digests } from '../../index.js'

// Default imports: Node and the bundle both see a CommonJS package this way.
export const Flags = flagBuilders
export const Args = argBuilders

const MOST_THREADS = 512

const threads = Flags.custom<number>({
  description: 'worker threads (default: one per CPU core)',
  helpValue: 'N',
  parse: async (input) => {
    const count = /^\d{1,4}$/.test(input) ? Number(input) : 0
    if (count >= 1 && count <= MOST_THREADS) return count
    throw fault('bad-flag', `--threads must be an integer from 1 to ${MOST_THREADS}, not ${quote(input)}`)
  },
})

const size = (flag: string, description: string) =>
  Flags.custom<number>({
    ...{ description, helpValue: 'SIZE' },
    parse: async (input) => {
      const bytes = parseSize(input)
      if (bytes !== undefined && bytes > 0) return bytes
      throw fault('bad-flag', `${flag} must be a size, not ${quote(input)}`, 'write 500MB, 2GB or 1.5GiB')
    },
  })

const memory = size('--memory', 'memory limit for all threads together (default: 1GB)')

export const disk = size(
  '--disk',
  'disk for models and outputs on the hub and in S3: their files come when they are needed and go after use (default: models are downloaded into the cache, and outputs are uploaded at the end)',
)

/** A flag without a value. */
export const onOff = (description: string) => Flags.boolean({ description })

export const json = onOff('same as --format json')

export const set = Flags.string({
  description: 'override a value of the recipe, such as merge.weights.math=0.7',
  helpValue: 'KEY=VALUE',
  multiple: true,
  multipleNonGreedy: true,
})

/** For commands that use the models of a recipe: which of them count, and who must have signed them. */
export const trustFlags = {
  locked: onOff('use only the models in RECIPE.lock, written by terge lock'),
  key: Flags.string({
    description:
      'public key in PEM that the lock (with --locked) or the models (--require-signed-models) must be signed with',
    helpValue: 'FILE',
  }),
  certificate: Flags.string({
    description: 'certificates in PEM that their signatures must lead to, in place of --key',
    helpValue: 'FILE',
  }),
  'require-signed-models': onOff('refuse models whose files are not signed with --key, or by --certificate'),
}

/** Options of mergekit's command line that its configurations have no keys for. */
export const mergekitFlags = {
  'random-seed': Flags.string({ description: 'seed of random methods; same as --set seed=N', helpValue: 'N' }),
  'out-shard-size': Flags.string({ description: 'largest shard size, such as 5GB', helpValue: 'SIZE' }),
}

/** The digests that a command asks for. Error: `bad-flag` for flags that contradict each other. */
export function digestsFlag(flags: {
  readonly digests?: Digests | undefined
  readonly 'no-digests': boolean
  readonly sha256: boolean
}): Digests {
  const asked = new Map<Digests, string>()
  if (flags.digests !== undefined) asked.set(flags.digests, `--digests ${flags.digests}`)
  if (flags['no-digests']) asked.set('none', asked.get('none') ?? '--no-digests')
  if (flags.sha256) asked.set('full', asked.get('full') ?? '--sha256')
  const [one, other] = asked.values()
  if (other !== undefined) throw fault('bad-flag', `${one} and ${other} cannot be used together`, `remove ${other}`)
  return [...asked.keys()][0] ?? 'full'
}

/** The `--set` values of a command, with the values of the mergekit flags first. Error: `bad-flag`. */
export function setOf(flags: {
  readonly set?: readonly string[] | undefined
  readonly 'random-seed'?: string | undefined
  readonly 'out-shard-size'?: string | undefined
}): string[] {
  const { 'random-seed': seed, 'out-shard-size': size, set = [] } = flags
  if (seed !== undefined && !/^\d{1,16}$/.test(seed))
    throw fault('bad-flag', `--random-seed must be an integer, not ${quote(seed)}`)
  // mergekit writes 5B for 5 GB.
  const bytes = size?.replace(
    /^([\d.]+)([kmb])$/i,
    (_, n: string, unit: string) => `${n}${{ k: 'KB', m: 'MB', b: 'GB' }[unit.toLowerCase()]}`,
  )
  if (bytes !== undefined && parseSize(bytes) === undefined)
    throw fault('bad-flag', `--out-shard-size must be a size, not ${quote(size!)}`, 'write 500MB, 5GB or 5B')
  return [
    ...(seed === undefined ? [] : [`random_seed=${seed}`]),
    ...(bytes === undefined ? [] : [`out_shard_size=${bytes}`]),
    ...set,
  ]
}

/** For commands that plan a recipe. */
export const licenses = onOff('list the licenses of the models and stop')

/** For every command that reads recipes. */
export const strict = onOff('treat keys of a mergekit configuration that mergekit ignores as errors')

/** How a run uses the machine. These flags do not change the bytes of results. */
export const machineFlags = { threads: threads(), memory: memory() }

/** The output format: `--json` is short for `--format json`. Error: `bad-flag` if they contradict each other. */
export function chosenFormat<T extends string>(
  flags: { readonly json?: boolean | undefined; readonly format?: T | undefined },
  otherwise: T,
): T | 'json' {
  if (flags.json !== true) return flags.format ?? otherwise
  if (flags.format !== undefined && flags.format !== 'json')
    throw fault('bad-flag', `--json and --format ${flags.format} cannot be used together`, 'remove one of them')
  return 'json'
}

/** A `--format` flag whose default is the first option. */
export const formatFlag = <const T extends readonly string[]>(options: T, description: string) =>
  Flags.option({ options, description: `${description} (default: ${options[0]})` })()

/** For commands that look for the inputs of a lineage. */
export const recipeFolder = Flags.string({
  description:
    'folder that the recipe’s paths are relative to (default: searched near the lineage and in the working folder)',
  helpValue: 'FOLDER',
})

/** For commands that print a recipe or a report. */
export const outputFile = Flags.string({
  char: 'o',
  helpValue: 'FILE',
  description: 'write to this file instead of standard output',
})

/** For commands with `outputFile`. */
export const force = onOff('with -o: replace an existing file')

/** For every command that prints a result for people or programs. */
export const resultFlags = { format: formatFlag(['text', 'json'], 'output format'), json }

/** For every command that executes a plan. */
export const runFlags = {
  ...machineFlags,
  disk: disk(),
  'dry-run': onOff('show the plan and stop; same as terge plan'),
  resume: onOff('resume an interrupted run; Ctrl-C then keeps finished work'),
  force: onOff('replace existing outputs'),
  'allow-commands': onOff('run the recipe’s evaluate and check commands, which can be any program'),
  'no-sync': onOff('skip fsync'),
  digests: Flags.option({
    options: ['full', 'fast', 'none'] as const,
    description:
      'digests in the lineage: full (default: with the SHA-256 of every input and output file), fast (without computing SHA-256), or none',
  })(),
  'no-digests': onOff('same as --digests none'),
  strict: onOff(
    'fail on NaN or infinite results from finite inputs, and on keys of a mergekit configuration that mergekit ignores',
  ),
  sha256: onOff('same as --digests full'),
  checksums: onOff('write SHA256SUMS into output folders, or NAME.sha256 next to a single file, for sha256sum -c'),
  ...resultFlags,
}
