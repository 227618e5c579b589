/** Searches: trials, their file, what is computed again, the best recipe, and one search through the real command. */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { Ajv } from 'ajv'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import {
  Fault,
  plan,
  plannedTensors,
  type RunEvent,
  type SearchEvent,
  type SearchOptions,
  search,
} from '../../src/index.js'
import { f32, inFolder, safetensors } from '../support/files.js'
import { terge } from '../support/terge.js'

/** A checkpoint of three tensors: two that the weights make, one that is the same everywhere. */
const model = (a: readonly number[]) => safetensors({ 'a.w': f32([2], a), 'b.w': f32([2], a), 'c.w': f32([2], [1, 1]) })

/** Prints how far a.w is from (0.3, 0.7). With FAIL, values of m in its range fail, in one of several ways. */
const EVALUATE = `
import { readFileSync } from 'node:fs'
const bytes = readFileSync(process.argv[2])
const size = Number(bytes.readBigUInt64LE(0))
const [start] = JSON.parse(bytes.subarray(8, 8 + size))['a.w'].data_offsets
const [x, y] = [0, 4].map((at) => bytes.readFloatLE(8 + size + start + at))
const how = process.argv[3]
if (how && x > 0.5) {
  if (how === 'exit') process.exit(3)
  if (how === 'nan') console.log('{"loss": NaN}')
  else console.log('{"other": 1}')
} else console.log(JSON.stringify({ loss: (x - 0.3) ** 2 + (y - 0.7) ** 2, place: Number(process.env.TERGE_PLACE ?? 0) }))
`

interface Setting {
  readonly search?: string
  readonly fail?: string
  readonly parameters?: string
}

function write(
  folder: string,
  { search: more = 'method: random\\n  trials: 6', fail, parameters }: Setting = {},
): string {
  const at = (name: string) => path.join(folder, name)
  writeFileSync(at('base.safetensors'), model([0, 0]))
  writeFileSync(at('m.safetensors'), model([1, 0]))
  writeFileSync(at('n.safetensors'), model([0, 1]))
  writeFileSync(at('evaluate.mjs'), EVALUATE)
  const command = [process.execPath, 'evaluate.mjs', '{model}', ...(fail ? [fail] : [])]
  writeFileSync(
    at('recipe.yml'),
    `# What this is.
terge: 1
models: {base: base.safetensors, m: m.safetensors, n: n.safetensors}   # all of them
base: base
merge:
  method: task_arithmetic
  weights: {m: 0.5, n: 0.5}   # both
search:
  # how
  parameters:
${parameters ?? '    merge.weights.m: {range: [0, 1]}\\n    merge.weights.n: {range: [0, 1]}'}
  objective: {minimize: loss}
  ${more}
# The result.
output: out.safetensors
evaluate: {command: ${JSON.stringify(command)}}
`.replaceAll('\\n', '\n'),
  )
  return at('recipe.yml')
}

type Event = SearchEvent | RunEvent
type Ended = Extract<SearchEvent, { kind: 'trial' }>

async function searched(file: string, options: SearchOptions = {}) {
  const events: Event[] = []
  const listen = (event: Event) => void events.push(event)
  const result = await search(file, { threads: 1, commands: 'run', sync: false, ...options, listen })
  return { ...result, events, trials: events.filter((event): event is Ended => event.kind === 'trial') }
}

/** Without what depends on the time. */
const lines = (file: string): readonly object[] =>
  readFileSync(file.replace('.yml', '.trials.jsonl'), 'utf8')
    .trim()
    .split('\n')
    .slice(1)
    .map((line) => ({ ...JSON.parse(line), seconds: 0, metrics: 0 }))
    .sort((a, b) => a.trial - b.trial)

async function refused(work: Promise<unknown>): Promise<Fault> {
  try {
    await work
  } catch (error) {
    if (error instanceof Fault) return error
    throw error
  }
  throw new Error('no error')
}

const FILES = ['recipe.best.yml', 'recipe.search.html', 'recipe.trials.jsonl', 'recipe.yml']

test('a search ends with the best recipe, its checkpoint and a page, and leaves nothing else', () =>
  inFolder(async (folder) => {
    const file = write(folder)
    const before = readFileSync(file, 'utf8')
    const { record, best, repeat } = await searched(file)
    assert.is(record.trials.length, 6)
    const scores = record.trials.map(({ score }) => score!)
    assert.is(best.score, Math.max(...scores))
    assert.is(best.score, -best.metrics.loss!)
    assert.equal([repeat.sameDigest, repeat.score], [true, best.score])
    const text = readFileSync(path.join(folder, 'recipe.best.yml'), 'utf8')
    const { 'merge.weights.m': m, 'merge.weights.n': n } = best.parameters
    const [head] = before.split('search:')
    const written = head!.replace('{m: 0.5, n: 0.5}', `{m: ${m}, n: ${n}}`)
    assert.is(text, `${written}${before.slice(before.indexOf('# The result.'))}`)
    assert.equal(
      readdirSync(folder).filter((name) => name.startsWith('recipe')),
      FILES,
    )
    assert.equal(
      readdirSync(folder).filter((name) => name.startsWith('.')),
      [],
    )
    const lineage = JSON.parse(readFileSync(path.join(folder, 'out.lineage.json'), 'utf8'))
    assert.equal([lineage.output.digest, lineage.recipe.text], [best.digest, text])
    assert.is(lineage.evaluations.loss, best.metrics.loss)
  }))

test('each line of the file of trials fits its schema', () =>
  inFolder(async (folder) => {
    const file = write(folder, { fail: 'exit', search: 'method: grid', parameters: '    merge.weights.m: [0.1, 0.9]' })
    await searched(file)
    const schema = fileURLToPath(new URL('../../../schemas/trials.v1.schema.json', import.meta.url))
    const valid = new Ajv({ strict: true, strictRequired: false, allowUnionTypes: true }).compile(
      JSON.parse(readFileSync(schema, 'utf8')),
    )
    const all = readFileSync(path.join(folder, 'recipe.trials.jsonl'), 'utf8')
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line))
    for (const line of all) assert.ok(valid(line), JSON.stringify(valid.errors))
    assert.equal(
      all.slice(1).map(({ state }) => state),
      ['done', 'failed'],
    )
    assert.not.ok(valid({ ...all[1], score: undefined, more: 1 }))
  }))

test('the trials are the same whatever parallel is, and after an interruption', () =>
  inFolder(async (folder) => {
    const one = write(folder, { search: 'method: tpe\n  trials: 9\n  seed: 5' })
    await searched(one)
    const expected = lines(one)
    assert.is(expected.length, 9)
    const rest = { force: true, set: ['search.parallel=3'] }
    const { events } = await searched(one, rest)
    assert.equal(lines(one), expected)
    const places = events.flatMap((event) => (event.kind === 'trial-state' ? [event.place] : []))
    assert.equal([...new Set(places)].sort(), [0, 1, 2])
    const stop = new AbortController()
    const listen = (event: Event) => event.kind === 'trial' && event.done === 3 && stop.abort()
    const options = { ...rest, threads: 1, commands: 'run', sync: false, listen, signal: stop.signal } as const
    const { exit, message } = await refused(search(one, options))
    assert.equal([exit, message], [130, 'interrupted: finished trials are kept in recipe.trials.jsonl'])
    const kept = lines(one).length
    assert.ok(kept >= 3 && kept < 9, `${kept} trials`)
    // As after a kill: the last line is not whole.
    const log = one.replace('.yml', '.trials.jsonl')
    const text = readFileSync(log, 'utf8')
    writeFileSync(log, text.slice(0, -9))
    const resumed = await searched(one, { resume: true, force: true })
    assert.is(resumed.trials.length, 9 - kept + 1)
    assert.equal(lines(one), expected)
    assert.equal(
      readdirSync(folder).filter((name) => name.startsWith('.')),
      [],
    )
  }))

test('a trial computes only tensors whose parameters change', () =>
  inFolder(async (folder) => {
    const parameters = '    merge.rules[0].weights.m: [0.1, 0.3, 0.6]'
    const file = write(folder, { search: 'method: grid', parameters })
    const text = readFileSync(file, 'utf8')
    writeFileSync(file, text.replace('search:', "  rules: [{match: 'a.w', weights: {m: 0.5, n: 0.5}}]\nsearch:"))
    const { trials } = await searched(file)
    assert.equal(
      trials.map(({ computed, tensors }) => [computed, tensors]),
      [
        [3, 3],
        [1, 3],
        [1, 3],
      ],
    )
    // The reused tensors are right: the checkpoints are those of separate runs.
    const prepared = await plan(file, { set: ['merge.rules[0].weights.m=0.6'] })
    const again = [...plannedTensors(prepared.plan)].map(({ name }) => name)
    assert.equal(again, ['a.w', 'b.w', 'c.w'])
    assert.is(trials[1]!.trial.metrics.loss?.toFixed(5), (0.04).toFixed(5))
  }))

test('failed trials are recorded with their reason and skipped', () =>
  inFolder(async (folder) => {
    const parameters = '    merge.weights.m: {range: [0.2, 0.8], step: 0.2}'
    for (const [fail, reason] of [
      ['exit', /exited with code 3/],
      ['nan', /must print one JSON object of numbers/],
      ['other', /did not print the metric 'loss', but 'other'/],
    ] as const) {
      const file = write(folder, { fail, search: 'method: grid', parameters })
      const { record, best } = await searched(file, { force: true })
      assert.equal(
        record.trials.map(({ state }) => state),
        ['done', 'done', 'failed', 'failed'],
      )
      assert.match(record.trials[3]!.reason!, reason)
      assert.is(best.parameters['merge.weights.m'], 0.2)
    }
  }))

test('too many failures end a search', () =>
  inFolder(async (folder) => {
    const parameters = '    merge.weights.m: {range: [0.6, 1.5], step: 0.1}'
    const file = write(folder, { fail: 'exit', search: 'method: grid', parameters })
    const { exit, diagnostics } = await refused(searched(file))
    assert.equal([exit, diagnostics[0]!.code], [1, 'search-failures'])
    assert.match(diagnostics[0]!.message, /^5 of 5 trials failed, the last one with: .*exited with code 3/)
    assert.is(lines(file).length, 5)
    const few = write(folder, { fail: 'exit', search: 'method: grid', parameters: '    merge.weights.m: [0.8, 0.9]' })
    assert.match((await refused(searched(few, { force: true }))).message, /^no trial succeeded: all 2 failed/)
  }))

test('patience ends a search after trials without a better one', () =>
  inFolder(async (folder) => {
    const parameters = '    merge.weights.m: {range: [0.3, 1.3], points: 40}'
    const file = write(folder, { search: 'method: grid\n  patience: 3', parameters })
    const { record } = await searched(file)
    assert.is(record.end, 'patience')
    assert.is(record.best, 0)
    assert.ok(record.trials.length > 3 && record.trials.length < 40, `${record.trials.length}`)
  }))

test('earlier files are replaced only if asked to, and a changed search says what has changed', () =>
  inFolder(async (folder) => {
    const parameters = '    merge.weights.m: [0.2, 0.4]'
    const file = write(folder, { search: 'method: grid', parameters })
    await searched(file)
    assert.match((await refused(searched(file))).message, /recipe\.trials\.jsonl: exists already/)
    // Nothing is left to do, and the output is what it should be.
    const { trials, repeat } = await searched(file, { resume: true })
    assert.equal([trials.length, repeat.sameDigest], [0, true])
    const changed = async () => (await refused(searched(file, { resume: true, force: true }))).message
    const text = readFileSync(file, 'utf8')
    writeFileSync(file, text.replace('[0.2, 0.4]', '[0.2, 0.5]').replace('n: 0.5', 'n: 0.6'))
    assert.match(await changed(), /recipe’s merge\.weights\.n \(0\.5 → 0\.6\); search\.parameters\./)
    writeFileSync(file, text)
    writeFileSync(path.join(folder, 'm.safetensors'), model([1, 0.5]))
    assert.match(await changed(), /What has changed: the content of "m\.safetensors"$/)
    writeFileSync(path.join(folder, 'm.safetensors'), model([1, 0]))
    const log = path.join(folder, 'recipe.trials.jsonl')
    writeFileSync(log, readFileSync(log, 'utf8').replace('"trial":0', '"trial":-1'))
    assert.match(await changed(), /^recipe\.trials\.jsonl:2: trial must be a non-negative integer/)
  }))

test('a command of the search itself, several metrics, and a model that varies', () =>
  inFolder(async (folder) => {
    const file = write(folder, { search: 'method: grid' })
    const text = readFileSync(file, 'utf8')
    const evaluate = /^evaluate: .*\n/m.exec(text)![0]
    writeFileSync(
      file,
      text
        .replace(evaluate, '')
        .replace('  method: grid', `  method: grid\n  ${evaluate.trimEnd()}`)
        .replace('{minimize: loss}', '[{maximize: loss, weight: 2}, {minimize: place}]')
        .replace(
          / {4}merge\.weights\.m: .*\n {4}merge\.weights\.n: .*\n/,
          '    models.m: [m.safetensors, n.safetensors]\n',
        ),
    )
    const { best, record } = await searched(file)
    assert.is(record.trials.length, 2)
    assert.is(best.score, 2 * best.metrics.loss!)
    assert.is(best.parameters['models.m'], 'n.safetensors')
    const made = readFileSync(path.join(folder, 'recipe.best.yml'), 'utf8')
    assert.match(made, 'm: "n.safetensors"')
    assert.match(made, /\nevaluate: \{"command":/)
    assert.not.match(made, 'search:')
  }))

test('through the real command', () =>
  inFolder(async (folder) => {
    const file = write(folder, { search: 'method: cma-es\n  trials: 3' })
    assert.match((await terge(['search', file])).err, 'error needs-commands')
    const { code, out, err } = await terge(['search', file, '--allow-commands', '--threads', '1', '--no-sync'], folder)
    assert.is(code, 0, err)
    assert.match(err, 'searching 2 parameters with cma-es, 3 trials\n')
    assert.match(out, /^3 trials: all trials are done\nbest: trial \d, score -0\.\d+ \(loss 0\.\d+/)
    assert.match(out, 'best recipe in recipe.best.yml, trials in recipe.trials.jsonl, page in recipe.search.html')
    const json = await terge(['search', file, '--allow-commands', '--threads', '1', '--resume', '--json'], folder)
    assert.equal([json.code, JSON.parse(json.out).trials, JSON.parse(json.out).repeat.sameDigest], [0, 3, true])
    assert.match(json.err, '{"kind":"search",')
    const planned = await terge(['plan', file])
    assert.match(planned.err, 'note: the recipe has a search: this plan uses the values that stand in the recipe')
  }))

test.run()
