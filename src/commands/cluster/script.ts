/** Fills the templates of cluster jobs. Recipes are from others: nothing of a path is read by a shell, by YAML or by Kubernetes. */
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { fault } from '../../core/diagnostics.js'
import { quote } from '../../core/suggest.js'

export interface Job {
  /** The recipe as the jobs are given it. */
  readonly recipe: string
  /** The folder where the jobs work. */
  readonly folder: string
  /** The words that start terge. */
  readonly program: readonly string[]
  readonly parts: number
  /** Flags of all jobs. */
  readonly flags: readonly string[]
  /** Further flags of the last job. */
  readonly last: readonly string[]
  /** Settings of the engine, by name. */
  readonly options: ReadonlyMap<string, string>
}

export interface Engine {
  /** The end of the file's name. */
  readonly extension: string
  /** The text of the file. Error: `bad-flag`. */
  readonly write: (job: Job) => string
  /** The command that hands the file over. */
  readonly submit: (file: string) => readonly string[]
  /** Whether the jobs can have other credentials than this machine. */
  readonly elsewhere: boolean
}

/** The first words of a file that may be replaced. */
export const WRITTEN = '# Written by terge submit'

const template = (engine: string): string =>
  readFileSync(new URL(`../../../../recipes/cluster/${engine}.template`, import.meta.url), 'utf8')

/** Replaces `{{name}}`. Values are not searched again. */
const fill = (engine: string, values: Readonly<Record<string, string>>): string =>
  template(engine).replace(/\{\{(\w+)\}\}/g, (_, name: string) => {
    const value = values[name]
    if (value === undefined) throw new Error(`internal: the template of ${engine} has an unknown ${name}`)
    return value
  })

/** A word for a shell: it reads nothing between single quotes. */
const shell = (word: string): string => `'${word.replaceAll("'", "'\\''")}'`

/** A value for YAML, as JSON: plain letters only, so that no reader sees a line break or an end of it. */
const yaml = (value: unknown): string =>
  JSON.stringify(value).replace(/[^ -~]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`)

/** Words for a container: Kubernetes replaces `$(NAME)` in them, unless the dollar is doubled. */
const words = (list: readonly string[]): string => yaml(list.map((word) => word.replaceAll('$', '$$$$')))

/** A name for a job: of the recipe, as far as Slurm and Kubernetes accept its letters. */
function nameOf(recipe: string): string {
  const stem = path.parse(recipe).name.toLowerCase()
  const name = stem.replace(/[^a-z0-9]+/g, '-').slice(0, 30)
  return `terge-${name.replace(/^-+|-+$/g, '') || 'run'}`.replace(/-+$/, '')
}

function refuseUnknown({ options }: Job, known: readonly string[]): void {
  const other = [...options.keys()].find((name) => !known.includes(name))
  if (other !== undefined)
    throw fault(
      'bad-flag',
      `--option ${quote(other)} does not exist for kubernetes`,
      `write one of ${known.join(', ')}`,
    )
}

const slurm: Engine = {
  extension: '.slurm.sh',
  elsewhere: false,
  submit: (file) => ['bash', file],
  write(job) {
    const { recipe, folder, program, parts, flags, last, options } = job
    const odd = [...options.keys()].find((name) => !/^[a-z][a-z0-9-]*$/.test(name))
    if (odd !== undefined)
      throw fault('bad-flag', `--option ${quote(odd)} is not a flag of sbatch`, 'write partition=NAME')
    const given = [...options].map(([name, value]) => shell(value === '' ? `--${name}` : `--${name}=${value}`))
    return fill('slurm', {
      folder: shell(folder),
      name: shell(nameOf(recipe)),
      parts: String(parts),
      options: given.join(' '),
      run: [...program, 'run', ...flags].map(shell).join(' '),
      recipe: shell(recipe),
      finish: last.map((word) => ` ${shell(word)}`).join(''),
    })
  },
}

const KUBERNETES = ['image', 'claim', 'mount', 'cpu', 'memory'] as const

const kubernetes: Engine = {
  extension: '.jobset.yaml',
  elsewhere: true,
  submit: (file) => ['kubectl', 'apply', '-f', file],
  write(job) {
    const { recipe, parts, flags, last, options } = job
    refuseUnknown(job, KUBERNETES)
    for (const name of ['image', 'claim'] as const)
      if (!options.has(name))
        throw fault(
          'missing-flag',
          `--engine kubernetes needs --option ${name}=NAME`,
          name === 'image'
            ? 'name a container image with terge'
            : 'name a volume claim that all pods can write (ReadWriteMany)',
        )
    const args = (...more: readonly string[]) => words(['run', ...flags, ...more, '--', recipe])
    return fill('kubernetes', {
      name: yaml(nameOf(recipe)),
      image: yaml(options.get('image')),
      claim: yaml(options.get('claim')),
      mount: yaml(options.get('mount') ?? '/data'),
      requests: yaml({ cpu: options.get('cpu') ?? '4', memory: options.get('memory') ?? '8Gi' }),
      command: words(['terge']),
      parts: String(parts),
      analyse: args('--part', 'analyse'),
      part: args('--part', `auto/${parts}`),
      finish: args('--finish', ...last),
    })
  },
}

export const ENGINES = { slurm, kubernetes } as const
