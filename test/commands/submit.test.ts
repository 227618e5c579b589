/** Jobs of clusters: the script for Slurm with a Slurm that only notes, and the fields of the JobSet for Kubernetes. */
import { execFileSync } from 'node:child_process'
import { generateKeyPairSync } from 'node:crypto'
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { parse, parseAllDocuments } from 'yaml'
import { ENGINES } from '../../src/commands/cluster/engines.js'
import type { Job } from '../../src/commands/cluster/types.js'
import { run } from '../../src/commands/run.js'
import { submit } from '../../src/commands/submit.js'
import { Fault } from '../../src/core/diagnostics.js'
import { checkParts, plan, runPart, sign } from '../../src/index.js'
import { f32, inFolder, writeModel } from '../support/files.js'
import { terge } from '../support/terge.js'

const ODD = `a 'b" $(touch harmed) \`touch harmed\` \\ $HOME {{name}}\nharm: true #`

const job = (more: Partial<Job> = {}): Job => ({
  recipe: `${ODD}.yml`,
  folder: '/data',
  program: ['terge'],
  parts: 16,
  flags: [`--set=${ODD}`],
  last: ['--sha256'],
  options: new Map(),
  texts: [{ suffix: '', text: ODD }],
  ...more,
})

/** Programs that write their arguments, one in a line as JSON, and answer like Slurm. */
function fakeSlurm(folder: string): NodeJS.ProcessEnv {
  const bin = path.join(folder, 'bin')
  mkdirSync(bin)
  const program = (name: string, answer: string) => {
    const script = `#!/usr/bin/env node\nrequire('node:fs').appendFileSync(process.env.CALLS, JSON.stringify(process.argv.slice(2)) + '\\n')\n${answer}`
    writeFileSync(path.join(bin, name), script)
    chmodSync(path.join(bin, name), 0o755)
  }
  program('sbatch', "console.log('7;cluster')")
  program('scontrol', "process.kill(process.ppid, 'SIGKILL')")
  program('terge', 'process.exitCode = Number(process.env.CODE ?? 0)')
  return { ...process.env, PATH: `${bin}:${process.env.PATH}`, CALLS: path.join(folder, 'calls') }
}

if (process.platform !== 'win32')
  test('the script for Slurm submits three jobs, and each runs its part with the words as written', () =>
    inFolder((folder) => {
      const env = fakeSlurm(folder)
      const calls = () =>
        readFileSync(path.join(folder, 'calls'), 'utf8')
          .trimEnd()
          .split('\n')
          .map((line) => JSON.parse(line) as string[])
      const script = path.join(folder, 'job $(x).sh')
      writeFileSync(
        script,
        ENGINES.slurm.write(
          job({
            folder,
            options: new Map([
              ['partition', `long' $(touch harmed)`],
              ['exclusive', ''],
            ]),
          }),
        ),
      )
      const out = execFileSync('bash', [script], { env, encoding: 'utf8' })
      assert.match(out, 'submitted: analyse 7, parts 7, finish 7')
      const [analyse, part, finish] = calls()
      for (const own of [analyse!, part!, finish!]) {
        assert.equal(own.slice(0, 3), ['--parsable', `--partition=long' $(touch harmed)`, '--exclusive'])
        assert.is(own.at(-2), script)
      }
      assert.ok(part!.includes('--array=0-15'))
      for (const own of [part!, finish!])
        assert.equal(
          own.filter((word) => /^--(dependency|kill)/.test(word)),
          ['--dependency=afterok:7', '--kill-on-invalid-dep=yes'],
        )
      assert.equal([analyse!.at(-1), part!.at(-1), finish!.at(-1)], ['analyse', 'part', 'finish'])

      const tail = ['--', `${ODD}.yml`]
      execFileSync('bash', [script, 'analyse'], { env })
      assert.equal(calls().at(-1), ['run', `--set=${ODD}`, '--part', 'analyse', ...tail])
      execFileSync('bash', [script, 'part'], { env: { ...env, SLURM_ARRAY_TASK_ID: '5' } })
      assert.equal(calls().at(-1), ['run', `--set=${ODD}`, '--part', '5/16', ...tail])
      // A job that was preempted is queued again.
      assert.throws(() => execFileSync('bash', [script, 'finish'], { env: { ...env, CODE: '143', SLURM_JOB_ID: '9' } }))
      assert.equal(calls().slice(-2), [
        ['run', `--set=${ODD}`, '--finish', '--sha256', ...tail],
        ['requeue', '9'],
      ])
      // The number of the last task's job is that of the whole array.
      const last = { CODE: '143', SLURM_JOB_ID: '7', SLURM_ARRAY_JOB_ID: '7', SLURM_ARRAY_TASK_ID: '15' }
      assert.throws(() => execFileSync('bash', [script, 'part'], { env: { ...env, ...last } }))
      assert.equal(calls().at(-1), ['requeue', '7_15'])
      assert.throws(() => readFileSync(path.join(folder, 'harmed')), /ENOENT/)
    }))

test('the script for Slurm asks for signals and a requeue', () => {
  const text = ENGINES.slurm.write(job())
  for (const line of ['#SBATCH --requeue', '#SBATCH --signal=B:TERM@60', '#SBATCH --open-mode=append'])
    assert.ok(text.split('\n').includes(line), line)
  // Slurm reads such lines up to the first command.
  assert.not(/#SBATCH/.test(text.slice(text.indexOf('set -u'))))
})

/** The fields of batch/v1 and jobset.x-k8s.io/v1alpha2 that the template uses: their types, and which must be there. */
type Schema = 'string' | 'integer' | readonly [Schema] | { readonly [field: string]: Schema }
const NAME = 'string'
const CONTAINER = {
  'image!': 'string',
  workingDir: 'string',
  command: ['string'],
  args: ['string'],
  envFrom: [{ secretRef: { 'name!': NAME } }],
  resources: { requests: { cpu: 'string', memory: 'string', 'ephemeral-storage': 'string' } },
  volumeMounts: [{ 'name!': NAME, 'mountPath!': 'string' }],
} as const
const VOLUMES: Schema = [
  { 'name!': NAME, persistentVolumeClaim: { 'claimName!': 'string' }, configMap: { 'name!': 'string' } },
]
const POD: Schema = {
  'spec!': {
    'restartPolicy!': 'string',
    terminationGracePeriodSeconds: 'integer',
    serviceAccountName: 'string',
    'containers!': [{ 'name!': NAME, ...CONTAINER }],
    volumes: VOLUMES,
  },
}
const JOBSET: Schema = {
  'apiVersion!': 'string',
  'kind!': 'string',
  'metadata!': { 'name!': NAME },
  'spec!': {
    failurePolicy: { maxRestarts: 'integer' },
    'replicatedJobs!': [
      {
        'name!': NAME,
        replicas: 'integer',
        dependsOn: [{ 'name!': NAME, 'status!': 'string' }],
        'template!': {
          'spec!': {
            completionMode: 'string',
            completions: 'integer',
            parallelism: 'integer',
            backoffLimit: 'integer',
            backoffLimitPerIndex: 'integer',
            maxFailedIndexes: 'integer',
            podFailurePolicy: {
              'rules!': [
                {
                  'action!': 'string',
                  onPodConditions: [{ 'type!': 'string' }],
                  onExitCodes: { containerName: 'string', 'operator!': 'string', 'values!': ['integer'] },
                },
              ],
            },
            'template!': POD,
          },
        },
      },
    ],
  },
}

/** The fields of argoproj.io/v1alpha1. */
const ARGO: Schema = {
  'apiVersion!': 'string',
  'kind!': 'string',
  'metadata!': { 'name!': NAME },
  'spec!': {
    'entrypoint!': 'string',
    serviceAccountName: 'string',
    volumes: VOLUMES,
    'templates!': [
      {
        'name!': NAME,
        inputs: { parameters: [{ 'name!': NAME }] },
        dag: {
          'tasks!': [
            {
              'name!': NAME,
              'template!': 'string',
              depends: 'string',
              withSequence: { count: 'string' },
              arguments: { parameters: [{ 'name!': NAME, 'value!': 'string' }] },
            },
          ],
        },
        retryStrategy: { limit: 'string', retryPolicy: 'string', expression: 'string' },
        container: CONTAINER,
      },
    ],
  },
}
const CONFIG_MAP: Schema = {
  'apiVersion!': 'string',
  'kind!': 'string',
  'metadata!': { 'name!': NAME },
  'data!': { 'recipe.yml': 'string' },
}

/** What does not fit a schema. */
function misfits(value: unknown, schema: Schema, at = ''): string[] {
  if (schema === 'string') return typeof value === 'string' && value !== '' ? [] : [`${at}: not a string`]
  if (schema === 'integer') return Number.isInteger(value) ? [] : [`${at}: not an integer`]
  if (Array.isArray(schema))
    return Array.isArray(value)
      ? value.flatMap((one, index) => misfits(one, schema[0] as Schema, `${at}[${index}]`))
      : [`${at}: not a list`]
  if (typeof value !== 'object' || value === null) return [`${at}: not an object`]
  const fields = new Map(
    Object.entries(schema).map(([name, own]) => [name.replace('!', ''), [own, name.endsWith('!')] as const]),
  )
  return [
    ...[...fields].flatMap(([name, [, must]]) => (must && !(name in value) ? [`${at}.${name}: missing`] : [])),
    ...Object.entries(value).flatMap(([name, inner]) => {
      const field = fields.get(name)
      return field ? misfits(inner, field[0], `${at}.${name}`) : [`${at}.${name}: unknown`]
    }),
  ]
}

interface JobSet {
  readonly apiVersion: string
  readonly kind: string
  readonly metadata: { readonly name: string }
  readonly spec: {
    readonly replicatedJobs: readonly {
      readonly name: string
      readonly dependsOn?: readonly object[]
      readonly template: {
        readonly spec: Readonly<Record<string, unknown>> & {
          readonly template: {
            readonly spec: {
              readonly containers: readonly { readonly args: readonly string[]; readonly envFrom?: unknown }[]
              readonly volumes?: unknown
              readonly serviceAccountName?: string
            }
          }
        }
      }
    }[]
  }
}

/** As Kubernetes reads arguments: `$$` is a dollar, `$(NAME)` a variable. */
const expanded = (words: readonly string[]): string[] =>
  words.map((word) => word.replace(/\$\$|\$\((\w+)\)/g, (found) => (found === '$$' ? '$' : 'EXPANDED')))

test('the JobSet for Kubernetes has the fields of its kinds, and the words as written', () => {
  const options = new Map([
    ['image', `registry/terge:1 # "x"\n`],
    ['claim', 'models'],
    ['disk', '10Gi'],
  ])
  const found = parse(ENGINES.kubernetes.write(job({ options })), { merge: true }) as JobSet
  assert.equal(misfits(found, JOBSET), [])
  assert.equal([found.apiVersion, found.kind], ['jobset.x-k8s.io/v1alpha2', 'JobSet'])
  assert.match(found.metadata.name, /^[a-z0-9]([-a-z0-9]{0,40}[a-z0-9])$/)
  const [analyse, part, finish] = found.spec.replicatedJobs
  assert.equal([analyse!.name, part!.name, finish!.name], ['analyse', 'part', 'finish'])
  assert.is(analyse!.dependsOn, undefined)
  assert.equal(part!.dependsOn, [{ name: 'analyse', status: 'Complete' }])
  assert.equal(finish!.dependsOn, [{ name: 'part', status: 'Complete' }])
  const { completionMode, completions, parallelism, backoffLimitPerIndex, maxFailedIndexes, backoffLimit } =
    part!.template.spec
  assert.equal([completionMode, completions, parallelism, maxFailedIndexes], ['Indexed', 16, 16, 0])
  assert.ok(Number(backoffLimitPerIndex) > 0)
  assert.is(backoffLimit, undefined)
  const args = (one: typeof part) => expanded(one!.template.spec.template.spec.containers[0]!.args)
  const tail = ['--', `${ODD}.yml`]
  assert.equal(args(analyse), ['run', `--set=${ODD}`, '--part', 'analyse', ...tail])
  assert.equal(args(part), ['run', `--set=${ODD}`, '--part', 'auto/16', ...tail])
  assert.equal(args(finish), ['run', `--set=${ODD}`, '--finish', '--sha256', ...tail])
})

test('without a volume, pods have the recipe in a ConfigMap and credentials from a Secret', () => {
  const options = new Map([
    ['image', 'x'],
    ['secret', 'keys'],
    ['account', 'merger'],
  ])
  const alone = job({ options, flags: ['--work=s3://bucket/work'] })
  const [found, map] = parseAllDocuments(ENGINES.kubernetes.write(alone), { merge: true }).map(
    (one) => one.toJS() as unknown,
  ) as [JobSet, unknown]
  assert.equal([...misfits(found, JOBSET), ...misfits(map, CONFIG_MAP)], [])
  assert.equal((map as { data: unknown }).data, { 'recipe.yml': ODD })
  for (const { template } of found.spec.replicatedJobs) {
    const { containers, volumes, serviceAccountName } = template.spec.template.spec
    assert.equal(volumes, [{ name: 'recipe', configMap: { name: (map as JobSet).metadata.name } }])
    assert.equal(containers[0]!.envFrom, [{ secretRef: { name: 'keys' } }])
    assert.is(serviceAccountName, 'merger')
    assert.equal(containers[0]!.args.slice(-2), ['--', './recipe.yml'])
  }
})

interface Workflow {
  readonly spec: {
    readonly templates: readonly {
      readonly name: string
      readonly dag?: { readonly tasks: readonly Readonly<Record<string, unknown>>[] }
      readonly container?: { readonly args: readonly string[] }
    }[]
  }
}

test('the workflow for Argo has the fields of its kind, and no word that Argo would replace', () => {
  const options = new Map([
    ['image', 'x'],
    ['claim', 'models'],
  ])
  const recipe = ODD.replace('{{name}}', '')
  const given = job({ options, recipe, flags: [`--set=${recipe}`], last: ['--sha256'] })
  const found = parse(ENGINES.argo.write(given), { merge: true }) as Workflow
  assert.equal(misfits(found, ARGO), [])
  const [all, analyse, part, finish] = found.spec.templates
  assert.equal(
    all!.dag!.tasks.map(({ name, depends, withSequence }) => [name, depends, withSequence]),
    [
      ['analyse', undefined, undefined],
      ['part', 'analyse', { count: '16' }],
      ['finish', 'part', undefined],
    ],
  )
  const head = ['run', `--set=${recipe}`]
  assert.equal(expanded(analyse!.container!.args), [...head, '--part', 'analyse', '--', recipe])
  assert.equal(expanded(part!.container!.args), [...head, '--part', '{{inputs.parameters.index}}/16', '--', recipe])
  assert.equal(expanded(finish!.container!.args), [...head, '--finish', '--sha256', '--', recipe])
  assert.throws(
    () => ENGINES.argo.write(job({ options })),
    (error: unknown) => error instanceof Fault && error.message.includes('between braces'),
  )
})

const RECIPE = `terge: 1
models: {a: a.safetensors, b: b.safetensors}
merge: {method: linear, weights: {a: 0.5, b: 0.5}}
output: out.safetensors
`

function smallModels(folder: string): string {
  for (const name of ['a', 'b'])
    writeModel(path.join(folder, `${name}.safetensors`), { w: f32([2], [1, 2]), v: f32([2], [3, 4]) })
  const file = path.join(folder, 'r.yml')
  writeFileSync(file, RECIPE)
  return file
}

/** The error of a command that is called in this process. */
const refused = async (...argv: string[]): Promise<Fault['diagnostics'][number]> => {
  try {
    await submit.run(argv)
  } catch (error) {
    if (error instanceof Fault) return error.diagnostics[0]!
    throw error
  }
  throw new Error(`not refused: ${argv.join(' ')}`)
}

test('terge submit writes a file, and replaces only its own', () =>
  inFolder(async (folder) => {
    const recipe = smallModels(folder)
    const first = await terge(
      ['submit', 'r.yml', '--engine', 'slurm', '--parts', '2', '--memory', '2GB', '--option', 'time=8:00:00'],
      folder,
    )
    assert.is(first.code, 0, first.err)
    assert.match(first.out, 'wrote r.slurm.sh; submit it with: bash r.slurm.sh')
    const script = path.join(folder, 'r.slurm.sh')
    const text = readFileSync(script, 'utf8')
    assert.match(text, "options=('--time=8:00:00')")
    assert.match(text, "'--memory=2000000000'")
    const again = ['--engine', 'slurm', '--parts', '2', '--script', script]
    assert.is(await submit.run([recipe, ...again]), 0)
    assert.not.equal(readFileSync(script, 'utf8'), text)
    writeFileSync(script, 'mine')
    assert.is((await refused(recipe, ...again)).code, 'file-exists')
    assert.is(readFileSync(script, 'utf8'), 'mine')
  }))

/** What each flag of `terge run` becomes: words of all jobs, words of the last one, or an error with this hint. */
const RUN_FLAGS: Readonly<Record<string, readonly [given: string[], found: string | RegExp, last?: true]>> = {
  output: [['-o', 'other.safetensors'], '--output=other.safetensors'],
  set: [['--set', 'merge.weights.a=0.25'], '--set=merge.weights.a=0.25'],
  'random-seed': [['--random-seed', '7'], '--set=random_seed=7'],
  'out-shard-size': [['--out-shard-size', '5B'], '--set=out_shard_size=5GB'],
  locked: [['--locked', '--key', 'key.pub'], '--locked'],
  key: [['--locked', '--key', 'key.pub'], '--key=key.pub'],
  certificate: [['--locked', '--certificate', 'ca.pem'], '--certificate=ca.pem'],
  'require-signed-models': [['--require-signed-models', '--key', 'key.pub'], '--require-signed-models'],
  work: [['--work', 'meet'], '--work=meet'],
  threads: [['--threads', '3'], '--threads=3'],
  memory: [['--memory', '2GB'], '--memory=2000000000'],
  disk: [['--disk', '2GB'], '--disk=2000000000'],
  force: [['--force'], '--force'],
  'allow-commands': [['--allow-commands'], '--allow-commands'],
  'no-sync': [['--no-sync'], '--no-sync'],
  strict: [['--strict'], '--strict'],
  digests: [['--digests', 'fast'], '--digests=fast'],
  sha256: [['--sha256'], '--sha256', true],
  checksums: [['--checksums'], '--checksums', true],
  part: [['--part', '0/2'], /^remove it: each job gets the part/],
  finish: [['--finish'], /^remove it: the last job/],
  resume: [['--resume'], /continue by themselves/],
  'no-digests': [['--no-digests'], /recognized by digests/],
  'dry-run': [['--dry-run'], /terge plan/],
  licenses: [['--licenses'], /terge plan --licenses/],
  format: [['--format', 'json'], /logs/],
  json: [['--json'], /logs/],
}

test('every flag of terge run is given to the jobs, or refused with a reason', () =>
  inFolder(async (folder) => {
    assert.equal(Object.keys(RUN_FLAGS).sort(), Object.keys(run.flags).sort())
    const recipe = smallModels(folder)
    writeFileSync(recipe, RECIPE.replace('output: out.safetensors', 'output: {path: out}'))
    const script = path.join(folder, 'script')
    for (const [name, [given, found, last]] of Object.entries(RUN_FLAGS)) {
      const argv = [recipe, '--engine', 'slurm', '--parts', '2', '--no-models', '--script', script, ...given]
      if (found instanceof RegExp) {
        const { code, message, hint = '' } = await refused(...argv)
        assert.equal([code, message], ['bad-flag', `--${name} cannot be used with terge submit`])
        assert.match(hint, found)
        continue
      }
      assert.is(await submit.run(argv), 0, name)
      const text = readFileSync(script, 'utf8')
      assert.is(text.split(`'${found}'`).length, 2, name)
      const line = text.split('\n').find((one) => one.includes(`'${found}'`))!
      assert.is(line.includes('--finish'), last === true, line)
    }
    assert.match((await refused(recipe, '--engine', 'slurm', '--parts', '2', '--digests', 'none')).message, 'not ')
  }))

test('keys of signatures come to pods without a volume, and what they check is checked before', () =>
  inFolder(async (folder) => {
    const recipe = smallModels(folder)
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    const at = (name: string): string => path.join(folder, name)
    writeFileSync(at('key.pem'), privateKey.export({ type: 'sec1', format: 'pem' }))
    writeFileSync(at('key.pub'), publicKey.export({ type: 'spki', format: 'pem' }))
    const slurm = [recipe, '--engine', 'slurm', '--parts', '2', '--script', at('script'), '--key', at('key.pub')]
    assert.is((await refused(...slurm)).code, 'contradiction')
    assert.is((await refused(...slurm, '--require-signed-models')).code, 'missing-signature')
    for (const name of ['a', 'b']) {
      const signed = await sign(at(`${name}.safetensors`), { key: at('key.pem') })
      writeFileSync(signed.path, signed.text)
    }
    assert.is((await refused(...slurm, '--require-signed-models', '--digests', 'fast')).code, 'contradiction')
    assert.is(await submit.run([...slurm, '--require-signed-models']), 0)
    assert.is((await refused(...slurm.slice(0, -2), '--checksums', '--digests', 'fast')).code, 'contradiction')

    for (const end of ['.lock', '.lock.sig']) writeFileSync(`${recipe}${end}`, end)
    writeFileSync(
      recipe,
      RECIPE.replace('a: a.safetensors, b: b.safetensors', 'a: hf:org/a, b: hf:org/b').replace('out.', 'hf:org/out.'),
    )
    const pods = [
      recipe,
      '--engine',
      'kubernetes',
      '--parts',
      '2',
      '--script',
      at('pods'),
      '--no-models',
      '--work',
      's3://bucket/w',
    ]
    const more = ['--option', 'image=x', '--locked', '--key', at('key.pub'), '--output', 'hf:org/out']
    assert.is(await submit.run([...pods, ...more]), 0)
    const [found, map] = parseAllDocuments(readFileSync(at('pods'), 'utf8'), { merge: true }).map(
      (one) => one.toJS() as unknown,
    ) as [JobSet, { readonly data: Readonly<Record<string, string>> }]
    assert.equal(Object.keys(map.data), ['r.yml', 'r.yml.lock', 'r.yml.lock.sig', 'r.yml.pem'])
    assert.is(map.data['r.yml.pem'], readFileSync(at('key.pub'), 'utf8'))
    for (const { template } of found.spec.replicatedJobs)
      assert.ok(template.spec.template.spec.containers[0]!.args.includes('--key=./r.yml.pem'))
  }))

test('terge submit refuses what the jobs would refuse, and writes nothing', () =>
  inFolder(async (folder) => {
    const recipe = smallModels(folder)
    const script = path.join(folder, 'script')
    const slurm = ['--engine', 'slurm', '--script', script]
    const kubernetes = ['--engine', 'kubernetes', '--parts', '2', '--script', script]
    const code = async (...argv: string[]) => (await refused(...argv)).code
    assert.is(await code(recipe, ...slurm, '--parts', '0'), 'bad-flag')
    assert.is(await code(recipe, ...slurm, '--parts', '2', '--option', 'Two Words=1'), 'bad-flag')
    assert.match((await refused(recipe, ...kubernetes)).message, 'needs --option image=NAME')
    const named = [...kubernetes, '--option', 'image=x', '--option', 'claim=y']
    assert.match((await refused(recipe, ...named, '--option', 'port=1')).message, "'port' does not exist")
    const two = [...slurm, '--parts', '2']
    assert.is(await code(`${recipe}.other`, ...two), 'missing-recipe')
    assert.is(await code(recipe, ...two, '-o', 'hf:org/name'), 'missing-flag')
    assert.is(await code(recipe, ...two, '--memory', '1MB'), 'memory-too-small')
    const many = await refused(recipe, ...slurm, '--parts', '3')
    assert.equal([many.code, many.message], ['bad-value', '3 parts are too many: the plan has 2 tensors'])

    const other = path.join(folder, 'other.yml')
    const wrong = async (text: string, ...more: string[]) => {
      writeFileSync(other, text)
      const { code, place } = await refused(other, ...two, ...more)
      return [code, place?.line]
    }
    assert.equal(await wrong(RECIPE.replace('linear', 'liner')), ['unknown-method', 3])
    assert.equal(await wrong(RECIPE.replace('b: b.', 'b: c.')), ['missing-model', 2])
    assert.equal(await wrong(`${RECIPE}evaluate: {command: [x]}\n`), ['needs-commands', 5])
    // Models of a cluster need not be on this machine.
    assert.equal(await wrong(RECIPE.replace('linear', 'liner'), '--no-models'), ['unknown-method', 3])
    assert.is(await code(other, ...two, '--no-models', '-o', 's3://bucket/x'), 'unknown-method')
    writeFileSync(other, RECIPE.replace('b: b.', 'b: c.'))
    assert.is(await code(other, ...two, '--no-models', '-o', 's3://bucket/x'), 'missing-flag')
    assert.not(existsSync(script))
    assert.is(await submit.run([other, ...two, '--no-models']), 0)

    // Pods without a volume see no file of this machine.
    const pods = [...kubernetes, '--option', 'image=x', '--work', 's3://bucket/work']
    assert.equal(await code(recipe, ...pods), 'contradiction')
    const away = RECIPE.replace('a: a.safetensors, b: b.safetensors', 'a: hf:org/a, b: s3://bucket/b').replace(
      'output: ',
      'output: s3://bucket/',
    )
    writeFileSync(other, away)
    assert.is(await code(other, ...pods.slice(0, -2), '--no-models'), 'missing-flag')
    assert.is(await submit.run([other, ...pods, '--no-models']), 0)
    assert.match(readFileSync(script, 'utf8'), '"other.yml":"terge: 1')

    const prepared = await plan(recipe)
    await runPart(prepared, { index: 0, of: 2 }, { threads: 1, sync: false })
    await checkParts(recipe, 2)
    const bound = await checkParts(recipe, 1).catch((error: unknown) => error)
    assert.ok(bound instanceof Fault && bound.diagnostics[0]!.code === 'other-work')
    writeFileSync(path.join(folder, 'out.safetensors'), '')
    assert.is(await code(recipe, ...two), 'output-exists')
    await checkParts(recipe, 2, { force: true })
  }))

test.run()
