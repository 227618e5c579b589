/**
 * Random small plans give the same records and the same bytes on threads, in another order and late, on one thread, in three parts, and
 * after a kill. So nothing of how units are done shows in what they make.
 */
import { cpSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { Fault } from '../../src/core/diagnostics.js'
import type { RunEvent } from '../../src/execute/events.js'
import type { OpenPool } from '../../src/execute/pools/types.js'
import { recordLine, type UnitRecord } from '../../src/execute/units/records.js'
import { finishPartsWith } from '../../src/session/parts/finish.js'
import { runPartWith } from '../../src/session/parts/part.js'
import { plan } from '../../src/session/plan.js'
import { type RunInternals, type RunOptions, runWith } from '../../src/session/run.js'
import { bf16, f32, i64, inFolder, numbers, type RawTensor, writeModel } from '../support/files.js'
import { openCounting, openInline, openShuffling } from '../support/pools.js'
import { PACKED } from '../support/quantized.js'

/** Seeds of the plans. Their methods, weights, dtypes and shards are drawn. */
const SEEDS = [1, 2, 3]

function generator(seed: number): () => number {
  let next = 0
  const values = numbers(4096, seed)
  return () => (values[next++ % values.length]! + 1) / 2
}

const pick = <T>(random: () => number, from: readonly T[]): T => from[Math.floor(random() * from.length)]!

/** A network of two layers, whose hidden units may be permuted, with tensors that are copied, long ones and an odd end. */
function model(random: () => number, seed: number, classes = 9): Record<string, RawTensor> {
  const hidden = 12
  const own = (count: number, place: number) => numbers(count, 100 * seed + place)
  return {
    'fc1.bias': f32([hidden], own(hidden, 1)),
    'fc1.weight': random() < 0.5 ? f32([hidden, 10], own(120, 2)) : bf16([hidden, 10], own(120, 2)),
    'fc2.bias': f32([classes], own(classes, 3)),
    'fc2.weight': f32([classes, hidden], own(classes * hidden, 4)),
    long: bf16([3, 100_003], own(300_009, 5)),
    steps: i64([1], [7n]),
  }
}

const SPEC =
  '{groups: {h: 12}, tensors: {fc1.weight: [h, null], fc1.bias: [h], fc2.weight: [null, h], fc2.bias: [null], long: [null, null], steps: [null]}}'

const ELEMENTWISE = [
  'linear',
  'karcher',
  'task_arithmetic',
  'ties',
  'dare_linear',
  'consensus_ta',
  'model_stock',
] as const
const SCOPED = ['metagpt', 'pcb'] as const
const HELD = ['iso_c', 'tsv_m', 'star'] as const
const TASK_VECTORS: ReadonlySet<string> = new Set([
  'task_arithmetic',
  'ties',
  'dare_linear',
  'consensus_ta',
  'metagpt',
  'pcb',
])

function recipe(random: () => number): string {
  const [first, second] = [pick(random, ELEMENTWISE), pick(random, SCOPED)]
  const weights = (method: string, count: number) =>
    ['linear', 'task_arithmetic', 'ties', 'dare_linear'].includes(method)
      ? `, weights: [${Array.from({ length: count }, () => (0.1 + random()).toFixed(2)).join(', ')}]`
      : ''
  const models = (method: string) => (TASK_VECTORS.has(method) || method === 'model_stock' ? '[al, c]' : '[a, al, c]')
  const count = models(first).split(',').length
  return `terge: 1
seed: ${Math.floor(100 * random())}
models: {a: a.safetensors, b: b, c: c.safetensors, small: small.safetensors}
steps:
  al: {rebasin: {model: b, onto: a, spec: ${SPEC}}}
  one: {merge: {base: a, method: ${first}, models: ${models(first)}${weights(first, count)}}}
  two:
    merge:
      base: a
      method: ${second}
      models: [one, al, c]
      rules: [{match: fc1.weight, method: ${pick(random, HELD)}, models: [al, c]}]
  cropped: {merge: {base: a, method: linear, models: [a, small], on_mismatch: crop}}
  adapter: {extract: {lora: {from: one, base: a, rank: ${1 + Math.floor(4 * random())}}}}
outputs:
  - {from: two, path: two, shard_size: ${pick(random, ['1KB', '100KB', '1MB'])}}
  - {from: one, path: one.safetensors, dtype: ${pick(random, ['bfloat16', 'float32', 'float16'])}}
  - {from: adapter, path: adapter}
  - {from: cropped, path: cropped.safetensors}
`
}

function prepare(folder: string, random: () => number): void {
  const seed = Math.floor(1000 * random())
  writeModel(path.join(folder, 'a.safetensors'), model(random, seed))
  mkdirSync(path.join(folder, 'b'))
  writeModel(path.join(folder, 'b', 'model.safetensors'), model(random, seed + 1))
  // One tensor more than the others have: it is only digested.
  writeModel(path.join(folder, 'c.safetensors'), { ...model(random, seed + 2), extra: f32([3], [1, 2, 3]) })
  writeModel(path.join(folder, 'small.safetensors'), model(random, seed + 3, 5))
  writeFileSync(path.join(folder, 'r.yml'), recipe(random))
}

interface Result {
  readonly records: readonly string[]
  readonly files: Readonly<Record<string, string>>
}

const linesOf = (records: Iterable<UnitRecord>): string[] => [...new Set([...records].map(recordLine))].sort()

/** All that a run left: nothing hidden, and every byte. */
function filesOf(folder: string): Record<string, string> {
  const names = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile())
  const files = names.map((entry) => path.join(entry.parentPath, entry.name)).sort()
  return Object.fromEntries(files.map((file) => [path.relative(folder, file), readFileSync(file).toString('latin1')]))
}

/** Runs the plan of a copy of the folder, in one go or in several. */
async function runCopy(
  template: string,
  work: (
    go: (options: RunOptions, internals: RunInternals) => Promise<readonly UnitRecord[]>,
  ) => Promise<Iterable<UnitRecord>>,
): Promise<Result> {
  return inFolder(async (folder) => {
    cpSync(template, folder, { recursive: true })
    const records = await work(async (options, internals) => {
      const found: UnitRecord[] = []
      const recorded = (records: Iterable<UnitRecord>) => found.splice(0, found.length, ...records)
      const prepared = await plan(path.join(folder, 'r.yml'))
      await runWith(prepared, { threads: 2, sync: false, ...options }, { ...internals, recorded })
      return found
    })
    return { records: linesOf(records), files: filesOf(folder) }
  })
}

/** Runs the plan of a copy of the folder in parts, in this order. */
const runParts = (template: string, of: number, order: readonly number[]): Promise<Result['files']> =>
  inFolder(async (folder) => {
    cpSync(template, folder, { recursive: true })
    const prepared = () => plan(path.join(folder, 'r.yml'))
    const [options, internals] = [{ threads: 1, sync: false }, { openPool: openInline }]
    await runPartWith(await prepared(), 'analyse', options, internals)
    for (const index of order) await runPartWith(await prepared(), { index, of }, options, internals)
    await finishPartsWith(await prepared(), options, internals)
    return filesOf(folder)
  })

function assertSameFiles(found: Result['files'], expected: Result['files'], how: string): void {
  assert.equal(Object.keys(found), Object.keys(expected), `files ${how}`)
  for (const [name, bytes] of Object.entries(expected)) assert.ok(found[name] === bytes, `${name} ${how}`)
}

function assertSame(found: Result, expected: Result, how: string): void {
  assert.equal(found.records, expected.records, `records ${how}`)
  assertSameFiles(found.files, expected.files, how)
}

/** Runs a plan in every way that must give the same. */
async function assertAnyOrder(template: string, random: () => number): Promise<void> {
  const expected = await runCopy(template, (go) => go({}, {}))
  let tasks = 0
  const counting: OpenPool = async (setup) => {
    const pool = await openInline(setup)
    return {
      ...pool,
      run: (work) => {
        tasks++
        return pool.run(work)
      },
    }
  }
  const one = await runCopy(template, (go) => go({ threads: 1 }, { openPool: counting }))
  assertSame(one, expected, 'on one thread')
  const shuffled = await runCopy(template, (go) => go({}, { openPool: openShuffling(random) }))
  assertSame(shuffled, expected, 'shuffled and delayed')
  assertSameFiles(await runParts(template, 3, [2, 0, 1]), expected.files, 'in three parts')
  for (let kill = 0; kill < 2; kill++) {
    const stop = new AbortController()
    const at = 1 + Math.floor(random() * (tasks - 1))
    const reused: string[] = []
    const listen = (event: RunEvent) => event.kind === 'step' && reused.push(event.text)
    const resumed = await runCopy(template, async (go) => {
      const openPool = openCounting(at, () => stop.abort())
      const killed = await go({ resume: true, signal: stop.signal }, { openPool }).catch((error: unknown) => error)
      assert.ok(killed instanceof Fault && killed.exit === 130, `killed at task ${at} of ${tasks}: ${killed}`)
      return go({ resume: true, listen }, { openPool: openInline })
    })
    assertSame(resumed, expected, `after a kill at task ${at} of ${tasks}`)
  }
}

for (const seed of SEEDS)
  test(`a random plan (${seed}) gives the same records and bytes in any execution order`, () =>
    inFolder(async (template) => {
      const random = generator(seed)
      prepare(template, random)
      await assertAnyOrder(template, random)
    }))

/** Quantized models with parts of each kind: grids, words with maps of groups, nested scales, and stacks that are transposed. */
for (const [seed, name] of [
  'fp8-block-bf16',
  'int4-ct-asymmetric',
  'gptq4-v1-desc_act',
  'nf4-nested',
  'mxfp4-gpt-oss',
].entries())
  test(`quantized weights (${name}) give the same records and bytes in any execution order, in parts and after a kill`, () =>
    inFolder(async (template) => {
      for (const model of ['a', 'b']) cpSync(path.join(PACKED, name), path.join(template, model), { recursive: true })
      const merge = 'merge: {method: linear, models: [a, b], weights: {a: 0.3, b: 0.7}}'
      const quantize = name.startsWith('fp8') ? '{path: out, quantize: fp8-block}' : 'out'
      writeFileSync(path.join(template, 'r.yml'), `terge: 1\nmodels: {a: a, b: b}\n${merge}\noutput: ${quantize}\n`)
      await assertAnyOrder(template, generator(seed + 1))
    }))

test.run()
