/** What a resume takes over of unfinished work when the recipe, or the place of its models, is another: all that is still the same unit. */
import { copyFileSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { sha256 } from '../../src/core/digest.js'
import type { RunEvent } from '../../src/execute/events.js'
import { plan } from '../../src/session/plan.js'
import { type RunOptions, runWith } from '../../src/session/run.js'
import { f32, inFolder, numbers, type RawTensor, writeModel } from '../support/files.js'
import { openInline } from '../support/pools.js'

const V = 5
const W = 601 * 503
const BYTES = 4 * (V + W)

const model = (seed: number): Record<string, RawTensor> => ({
  v: f32([V], numbers(V, seed)),
  w: f32([601, 503], numbers(W, seed + 1)),
})

const recipe = (merge = 'method: linear', outputs = 'output: out.safetensors', b = 'b.safetensors'): string =>
  outputs.startsWith('output:')
    ? `terge: 1\nmodels: {a: a.safetensors, b: ${b}}\nmerge: {${merge}}\n${outputs}\n`
    : `terge: 1\nmodels: {a: a.safetensors, b: ${b}}\nsteps: {m: {merge: {${merge}}}}\n${outputs}\n`

function prepare(folder: string): void {
  writeModel(path.join(folder, 'a.safetensors'), model(1))
  writeModel(path.join(folder, 'b.safetensors'), model(10))
}

async function go(folder: string, text: string, options: RunOptions = {}): Promise<RunEvent[]> {
  const events: RunEvent[] = []
  const listen = (event: RunEvent) => {
    events.push(event)
    options.listen?.(event)
  }
  writeFileSync(path.join(folder, 'r.yml'), text)
  const internals = options.threads === undefined ? { openPool: openInline } : {}
  await runWith(await plan(path.join(folder, 'r.yml')), { threads: 1, sync: false, ...options, listen }, internals)
  return events
}

/** Stops a run when its tensors are finished, and leaves its work for a resume. */
async function stopEarly(folder: string, text: string): Promise<void> {
  const stop = new AbortController()
  const listen = (event: RunEvent) => event.kind === 'phase' && event.phase !== 'merging' && stop.abort()
  await go(folder, text, { resume: true, signal: stop.signal, listen }).then(
    () => assert.unreachable(),
    (error) => assert.is(error.exit, 130, error.stack),
  )
}

/** Bytes of output that a resume took over. */
const takenOver = (events: readonly RunEvent[]): number =>
  events.reduce((sum, event) => (event.kind === 'start' ? event.done : sum), -1)

const bytesOf = (folder: string, name: string): string => readFileSync(path.join(folder, name)).toString('base64')

/** The file as a run from nothing makes it. */
async function expected(folder: string, text: string, name: string): Promise<string> {
  return inFolder(async (other) => {
    for (const file of ['a.safetensors', 'b.safetensors', 'moved.safetensors'])
      try {
        copyFileSync(path.join(folder, file), path.join(other, file))
      } catch {
        // Only one of the last two is there.
      }
    await go(other, text)
    return bytesOf(other, name)
  })
}

const CHANGES: readonly (readonly [what: string, text: string, taken: number, change?: (folder: string) => void])[] = [
  ['nothing', recipe(), BYTES],
  ['a rule for another tensor', recipe('method: linear, rules: [{match: v, method: passthrough, models: [b]}]'), 4 * W],
  ['a seed that nothing is drawn with', recipe().replace('terge: 1', 'terge: 1\nseed: 9'), BYTES],
  ['the weights', recipe('method: linear, weights: [1, 3]'), 0],
  [
    'the path of a model',
    recipe(undefined, undefined, 'moved.safetensors'),
    BYTES,
    (folder) => renameSync(path.join(folder, 'b.safetensors'), path.join(folder, 'moved.safetensors')),
  ],
  [
    'the inode and the times of an input',
    recipe(),
    BYTES,
    (folder) => {
      const file = path.join(folder, 'b.safetensors')
      copyFileSync(file, `${file}.new`)
      rmSync(file)
      renameSync(`${file}.new`, file)
    },
  ],
  [
    'one tensor of an input',
    recipe(),
    4 * W,
    (folder) => writeModel(path.join(folder, 'b.safetensors'), { ...model(10), v: model(20).v! }),
  ],
]

for (const [what, text, taken, change] of CHANGES)
  test(`a resume after a change of ${what} reuses the tensors that are still the same`, () =>
    inFolder(async (folder) => {
      prepare(folder)
      await stopEarly(folder, recipe())
      change?.(folder)
      const events = await go(folder, text, { resume: true })
      assert.is(takenOver(events), taken)
      assert.is(bytesOf(folder, 'out.safetensors'), await expected(folder, text, 'out.safetensors'))
    }))

test('a resume reuses the tensors of an output although the recipe now has another output', () =>
  inFolder(async (folder) => {
    prepare(folder)
    const [one, other] = ['{from: m, path: out.safetensors}', '{from: m, path: other.safetensors, dtype: float64}']
    await stopEarly(folder, recipe(undefined, `outputs: [${one}]`))
    const text = recipe(undefined, `outputs: [${other}, ${one}]`)
    assert.is(takenOver(await go(folder, text, { resume: true })), BYTES)
    for (const name of ['out.safetensors', 'other.safetensors'])
      assert.is(bytesOf(folder, name), await expected(folder, text, name))
  }))

const SPEC = '{groups: {h: 12}, tensors: {in.weight: [h, null], out.weight: [null, h]}}'
const ALIGNED = `terge: 1
models: {a: a.safetensors, b: b.safetensors}
steps:
  al: {rebasin: {model: b, onto: a, spec: ${SPEC}}}
  m: {merge: {method: linear, models: [a, al]}}
output: {from: m, path: out.safetensors}
`

const network = (seed: number): Record<string, RawTensor> => ({
  'in.weight': f32([12, 10], numbers(120, seed)),
  'out.weight': f32([9, 12], numbers(108, seed + 1)),
})

test('a resume reuses an analysis under new names in the recipe, and repeats it if an input changed', () =>
  inFolder(async (folder) => {
    writeModel(path.join(folder, 'a.safetensors'), network(1))
    writeModel(path.join(folder, 'b.safetensors'), network(10))
    await stopEarly(folder, ALIGNED)
    const renamed = ALIGNED.replace('b: b.safetensors', 'second: b.safetensors')
      .replace('model: b,', 'model: second,')
      .replaceAll('al', 'aligned')
    const steps = (events: readonly RunEvent[]) =>
      events.flatMap((event) => (event.kind === 'step' ? [`${event.step}: ${event.text}`] : []))
    const events = await go(folder, renamed, { resume: true })
    assert.equal(steps(events), ['aligned: reused from an earlier run'])
    const lineage = bytesOf(folder, 'out.lineage.json')
    assert.is(lineage, await expected(folder, renamed, 'out.lineage.json'))
    for (const name of ['out.safetensors', 'out.lineage.json']) rmSync(path.join(folder, name))
    await stopEarly(folder, ALIGNED)
    // A tensor that the alignment looks at, though not the one whose tensors it moves.
    writeModel(path.join(folder, 'a.safetensors'), { ...network(1), 'in.weight': network(50)['in.weight']! })
    const again = await go(folder, ALIGNED, { resume: true })
    assert.not.ok(steps(again).some((text) => text.includes('reused')))
    assert.is(takenOver(again), 0)
    assert.is(bytesOf(folder, 'out.safetensors'), await expected(folder, ALIGNED, 'out.safetensors'))
  }))

test('the findings of an analysis are not reused if their line is damaged', () =>
  inFolder(async (folder) => {
    writeModel(path.join(folder, 'a.safetensors'), network(1))
    writeModel(path.join(folder, 'b.safetensors'), network(10))
    const wanted = await expected(folder, ALIGNED, 'out.safetensors')
    await stopEarly(folder, ALIGNED)
    const journal = path.join(folder, '.terge-out.safetensors', 'journal')
    const text = readFileSync(journal, 'utf8')
    const at = text.indexOf('"0/h","i32","') + '"0/h","i32","'.length
    assert.ok(at > 20, sha256(text))
    writeFileSync(journal, `${text.slice(0, at)}B${text.slice(at + 1)}`)
    const events = await go(folder, ALIGNED, { resume: true })
    assert.not.ok(events.some((event) => event.kind === 'step' && event.text.includes('reused')))
    assert.is(bytesOf(folder, 'out.safetensors'), wanted)
  }))

const CHANGED = {
  'an alignment': 'rebasin: {model: b, onto: a, spec: {tensors: {w: [h]}}}\nmerge: {method: linear}',
  'passes over one tensor': 'merge: {method: ties, base: a, models: [b], parameters: {density: 0.3}}',
  'passes over all tensors': 'merge: {method: metagpt, base: a, models: [b]}',
} as const

for (const [what, steps] of Object.entries(CHANGED))
  test(`what a run found before an input changed is not reused: ${what}`, () =>
    inFolder(async (folder) => {
      prepare(folder)
      const text = `terge: 1\nmodels: {a: a.safetensors, b: b.safetensors}\n${steps}\noutput: out.safetensors\n`
      let changed = false
      const listen = ({ kind }: RunEvent) => {
        if (changed || (kind !== 'step' && kind !== 'progress')) return
        changed = true
        writeModel(path.join(folder, 'b.safetensors'), model(77))
      }
      await go(folder, text, { resume: true, listen }).then(
        () => assert.unreachable(),
        (error) => assert.is(error.diagnostics?.[0].code, 'input-changed', error.stack),
      )
      await go(folder, text, { resume: true })
      assert.is(bytesOf(folder, 'out.safetensors'), await expected(folder, text, 'out.safetensors'))
    }))

test.run()
