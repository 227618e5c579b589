import { readFile, realpath, stat } from 'node:fs/promises'
import path from 'node:path'
import { fault } from '../core/diagnostics.js'
import { quote } from '../core/suggest.js'
import { printable } from '../ui/text.js'
import { ENGINES } from './cluster/engines.js'
import { WRITTEN } from './cluster/fill.js'
import { handOver } from './cluster/handOver.js'
import type { Job, JobText } from './cluster/types.js'
import { defineCommand } from './support/command.js'
import { replaceText, writeText } from './support/files.js'
import {
  Args,
  digestsFlag,
  Flags,
  machineFlags,
  mergekitFlags,
  onOff,
  runFlags,
  set,
  setOf,
  trustFlags,
} from './support/flags.js'
import { given } from './support/options.js'
import { complain, print } from './support/print.js'

const NAMES = Object.keys(ENGINES) as (keyof typeof ENGINES)[]

export const submit = defineCommand({
  id: 'submit',
  summary: 'Write the jobs of a cluster that run a recipe in parts.',
  description:
    'Writes a script for Slurm, a JobSet for Kubernetes or a workflow for Argo, with three jobs: what all parts need, the parts, and the end, which checks all ' +
    'parts and publishes the outputs. With --submit, also hands it over. Jobs that are preempted continue. Everything that the jobs would ' +
    'refuse is checked first: the recipe, its models, and what exists already.',
  examples: [
    'Write a script for Slurm and read it\n<%= config.bin %> submit recipe.yml --engine slurm --parts 16 --option partition=long',
    'Submit it at once\n<%= config.bin %> submit recipe.yml --engine slurm --parts 16 --submit',
    'Write a JobSet for Kubernetes\n<%= config.bin %> submit recipe.yml --engine kubernetes --parts 16 --option image=IMAGE --option claim=models',
  ],
  args: { recipe: Args.string({ description: 'recipe file', required: true, ignoreStdin: true }) },
  flags: {
    engine: Flags.option({ options: NAMES, description: 'what runs the jobs', required: true })(),
    parts: Flags.string({ description: 'number of parts', helpValue: 'N', required: true }),
    submit: onOff('hand the jobs over, with bash and sbatch or with kubectl'),
    script: Flags.string({
      description: 'file to write (default: named after the recipe, in the working folder)',
      helpValue: 'FILE',
    }),
    option: Flags.string({
      description:
        'flag of sbatch, such as partition=long; for Kubernetes and Argo: image, claim, mount, secret, account, cpu, memory or disk',
      helpValue: 'KEY=VALUE',
      multiple: true,
      multipleNonGreedy: true,
    }),
    output: Flags.string({
      char: 'o',
      helpValue: 'PATH',
      description: 'output path or address; overrides the recipe’s',
    }),
    set,
    ...mergekitFlags,
    ...trustFlags,
    work: Flags.string({
      helpValue: 'PLACE',
      description:
        'where parts meet: a folder that all machines share, or s3://bucket/prefix (default: beside the output)',
    }),
    ...machineFlags,
    disk: runFlags.disk,
    'no-models': onOff('check only the text of the recipe, because its models are not on this machine'),
    force: runFlags.force,
    'allow-commands': runFlags['allow-commands'],
    'no-sync': runFlags['no-sync'],
    strict: runFlags.strict,
    digests: Flags.option({
      options: ['full', 'fast'] as const,
      description: 'digests in the lineage: full (default: with the SHA-256 of every file), or fast',
    })(),
    sha256: runFlags.sha256,
    checksums: runFlags.checksums,
  },
  refused: {
    part: 'remove it: each job gets the part that it does',
    finish: 'remove it: the last job gets it',
    resume: 'remove it: jobs that are preempted continue by themselves',
    'no-digests': 'remove it: parts are recognized by digests',
    'dry-run': 'use terge plan; terge submit only writes a file, unless --submit is given',
    licenses: 'use terge plan --licenses',
    format: 'remove it: the jobs write text into their logs',
    json: 'remove it: the jobs write text into their logs',
  },
  async execute({ args, flags }) {
    const { extension, write, submit, elsewhere, seesFiles } = ENGINES[flags.engine]
    const parts = /^\d{1,5}$/.test(flags.parts) ? Number(flags.parts) : 0
    if (parts < 1 || parts > 10_000)
      throw fault('bad-flag', `--parts must be an integer from 1 to 10000, not ${quote(flags.parts)}`)
    const options = optionsOf(flags.option ?? [])
    const files = seesFiles(options)
    const text = write({
      recipe: args.recipe,
      folder: process.cwd(),
      program: [process.execPath, await realpath(process.argv[1]!)],
      parts,
      ...passed(flags),
      options,
      trust: trustOf(flags),
      texts: files ? [] : await textsOf(args.recipe, flags),
    })
    const { checkParts } = await import('../index.js')
    const { diagnostics, notes } = await checkParts(args.recipe, parts, {
      ...given({ output: flags.output, set: setOf(flags), work: flags.work }),
      ...given({ key: flags.key, certificate: flags.certificate }),
      ...{ requireSigned: flags['require-signed-models'], checksums: flags.checksums, digests: digestsOf(flags) },
      ...given({ threads: flags.threads, memory: flags.memory }),
      models: !flags['no-models'],
      ...{ locked: flags.locked, strict: flags.strict, force: flags.force, elsewhere, files },
      commands: flags['allow-commands'] ? 'run' : 'refuse',
    })
    complain(diagnostics)
    const file = flags.script ?? `${path.parse(args.recipe).name}${extension}`
    if (await isOurs(file)) await replaceText(file, text)
    else await writeText(file, text, { force: false })
    const command = submit(path.resolve(file))
    for (const note of notes) print(`note: ${printable(note)}`)
    if (flags.submit) await handOver(command)
    else print(`wrote ${printable(file)}; submit it with: ${command.slice(0, -1).join(' ')} ${printable(file)}`)
    return 0
  },
})

type SetFlags = Parameters<typeof setOf>[0]

interface Passed extends SetFlags {
  readonly output?: string | undefined
  readonly work?: string | undefined
  readonly threads?: number | undefined
  readonly memory?: number | undefined
  readonly disk?: number | undefined
  readonly locked: boolean
  readonly force: boolean
  readonly 'allow-commands': boolean
  readonly 'no-sync': boolean
  readonly strict: boolean
  readonly digests?: 'full' | 'fast' | undefined
  readonly sha256: boolean
  readonly checksums: boolean
  readonly key?: string | undefined
  readonly certificate?: string | undefined
  readonly 'require-signed-models': boolean
}

/** The flags that the jobs are given. */
function passed(flags: Passed): { readonly flags: readonly string[]; readonly last: readonly string[] } {
  const { output, work, threads, memory, disk, digests, sha256, checksums } = flags
  const values = Object.entries({ output, work, threads, memory, disk, digests })
  const switches = ['locked', 'require-signed-models', 'force', 'allow-commands', 'no-sync', 'strict'] as const
  return {
    flags: [
      ...values.flatMap(([name, value]) => (value === undefined ? [] : [`--${name}=${value}`])),
      ...setOf(flags).map((one) => `--set=${one}`),
      ...switches.flatMap((name) => (flags[name] ? [`--${name}`] : [])),
    ],
    last: [...(sha256 ? ['--sha256'] : []), ...(checksums ? ['--checksums'] : [])],
  }
}

/** Error: `bad-flag`. */
function optionsOf(written: readonly string[]): ReadonlyMap<string, string> {
  return new Map(
    written.map((one) => {
      const [, name, value] = /^([^=]+)(?:=(.*))?$/s.exec(one) ?? []
      if (name === undefined || /[\0\r\n]/.test(one))
        throw fault('bad-flag', `--option must be KEY=VALUE, not ${quote(one)}`, 'write --option partition=long')
      return [name, value ?? '']
    }),
  )
}

/** The digests of the jobs. Error: `bad-flag` for flags that contradict each other. */
const digestsOf = ({ digests, sha256 }: Pick<Passed, 'digests' | 'sha256'>) =>
  digestsFlag({ digests, sha256, 'no-digests': false })

/** What signatures are checked with. Error: `bad-flag`. */
function trustOf({ key, certificate }: Pick<Passed, 'key' | 'certificate'>): Job['trust'] {
  if (key !== undefined && certificate !== undefined)
    throw fault('bad-flag', '--key and --certificate cannot be used together', 'remove one of them')
  if (key !== undefined) return { flag: 'key', file: key }
  return certificate === undefined ? undefined : { flag: 'certificate', file: certificate }
}

/** Error: those of a file that cannot be read. */
async function textsOf(recipe: string, flags: Pick<Passed, 'locked' | 'key' | 'certificate'>): Promise<Job['texts']> {
  const trusted = trustOf(flags)
  const files: readonly (readonly [JobText['suffix'], string])[] = [
    ['', recipe],
    ...(flags.locked ? ([['.lock', `${recipe}.lock`]] as const) : []),
    ...(flags.locked && trusted ? ([['.lock.sig', `${recipe}.lock.sig`]] as const) : []),
    ...(trusted ? ([['.pem', trusted.file]] as const) : []),
  ]
  return Promise.all(
    files.map(async ([suffix, name]) => {
      const text = await readFile(name, 'utf8').catch(() => {
        throw fault('missing-recipe', `${name} cannot be read`, HINTS[suffix])
      })
      return { suffix, text }
    }),
  )
}

const HINTS: Readonly<Record<JobText['suffix'], string>> = {
  '': 'check the path',
  '.lock': 'terge lock writes the lock',
  '.lock.sig': 'terge sign signs the lock',
  '.pem': 'give the path of a public key or of certificates in PEM',
}

/** Whether a file is one that this command wrote. */
const isOurs = async (file: string): Promise<boolean> =>
  (await stat(file).catch(() => undefined))?.isFile() === true && (await readFile(file, 'utf8')).includes(WRITTEN)
