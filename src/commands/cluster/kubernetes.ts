/** Jobs for Kubernetes: a JobSet, or a workflow of Argo. Pods have a volume in common, or meet in an S3 store. */
import path from 'node:path'
import { fault } from '../../core/diagnostics.js'
import { quote } from '../../core/suggest.js'
import { fill, nameOf, yaml } from './fill.js'
import { type Engine, type Job, trustWords } from './types.js'

const OPTIONS = ['image', 'claim', 'mount', 'secret', 'account', 'cpu', 'memory', 'disk'] as const

/** Where the recipe is if there is no volume. */
const ALONE = '/recipe'

export const jobset: Engine = {
  extension: '.jobset.yaml',
  elsewhere: true,
  seesFiles: (options) => options.has('claim'),
  submit: (file) => ['kubectl', 'apply', '-f', file],
  // Kubernetes replaces `$(NAME)` in words, unless the dollar is doubled.
  write: (job) => write(job, 'jobset', `auto/${job.parts}`, (word) => word.replaceAll('$', '$$$$')),
}

export const argo: Engine = {
  extension: '.argo.yaml',
  elsewhere: true,
  seesFiles: (options) => options.has('claim'),
  submit: (file) => ['kubectl', 'apply', '-f', file],
  write: (job) => {
    const odd = [job.recipe, ...job.flags, ...trustWords(job), ...job.options.values()].find((word) =>
      word.includes('{{'),
    )
    if (odd !== undefined)
      throw fault('bad-flag', `Argo would replace what is between braces in ${quote(odd)}`, 'write it without {{')
    return write(job, 'argo', `{{inputs.parameters.index}}/${job.parts}`, (word) => word.replaceAll('$', '$$$$'))
  },
}

function write(job: Job, template: string, part: string, literal: (word: string) => string): string {
  const { parts, last, options, texts } = job
  refuseOptions(options)
  const claim = options.get('claim')
  const mount = claim === undefined ? ALONE : (options.get('mount') ?? '/data')
  const name = nameOf(job.recipe)
  const recipe = claim === undefined ? `./${keyOf(job.recipe)}` : job.recipe
  const flags = [...job.flags, ...trustWords(job, claim === undefined ? `${recipe}.pem` : undefined)]
  const volume =
    claim === undefined
      ? { name: 'recipe', configMap: { name: `${name}-recipe` } }
      : { name: 'shared', persistentVolumeClaim: { claimName: claim } }
  const secret = options.get('secret')
  const account = options.get('account')
  const disk = options.get('disk')
  const words = (...more: readonly string[]): string => yaml(['run', ...flags, ...more, '--', recipe].map(literal))
  const filled = fill(template, {
    name: yaml(name),
    image: yaml(options.get('image')),
    mount: yaml(mount),
    volumes: yaml([volume]),
    mounts: yaml([{ name: volume.name, mountPath: mount }]),
    credentials: yaml(secret === undefined ? [] : [{ secretRef: { name: secret } }]),
    account: yaml(account ?? 'default'),
    requests: yaml({
      cpu: options.get('cpu') ?? '4',
      memory: options.get('memory') ?? '8Gi',
      ...(disk === undefined ? {} : { 'ephemeral-storage': disk }),
    }),
    command: yaml(['terge']),
    parts: String(parts),
    analyse: words('--part', 'analyse'),
    part: words('--part', part),
    finish: words('--finish', ...last),
  })
  return claim === undefined ? `${filled}---\n${configMap(`${name}-recipe`, keyOf(job.recipe), texts)}` : filled
}

/** Error: `bad-flag` for an option that does not exist; `missing-flag`. */
function refuseOptions(options: ReadonlyMap<string, string>): void {
  const other = [...options.keys()].find((name) => !OPTIONS.some((one) => one === name))
  if (other !== undefined)
    throw fault(
      'bad-flag',
      `--option ${quote(other)} does not exist for Kubernetes`,
      `write one of ${OPTIONS.join(', ')}`,
    )
  if (!options.has('image'))
    throw fault('missing-flag', 'Kubernetes needs --option image=NAME', 'name a container image with terge')
  if (options.has('mount') && !options.has('claim'))
    throw fault(
      'missing-flag',
      '--option mount needs --option claim=NAME',
      'name the volume claim that is mounted there',
    )
}

/** The key of a file in a ConfigMap: its name, if Kubernetes accepts the letters. */
const keyOf = (file: string): string => {
  const base = path.basename(file)
  return /^[-._a-zA-Z0-9]{1,200}$/.test(base) && !base.startsWith('..') ? base : 'recipe.yml'
}

/** In bytes. Kubernetes stores at most so much. */
const MOST_TEXT = 2 ** 20

function configMap(name: string, key: string, texts: Job['texts']): string {
  const bytes = texts.reduce((sum, { text }) => sum + Buffer.byteLength(text), 0)
  if (bytes > MOST_TEXT)
    throw fault(
      'bad-flag',
      `the recipe and its other files are too large for a ConfigMap: ${bytes} bytes`,
      'put it on a volume, and name its claim: --option claim=NAME',
    )
  const data = Object.fromEntries(texts.map(({ suffix, text }) => [`${key}${suffix}`, text]))
  return fill('recipe', { name: yaml(name), data: yaml(data) })
}
