/** Runs in parts: on machines that know nothing of each other, the outputs and lineages are those of one run, byte for byte. */
import { spawn } from 'node:child_process'
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { Fault } from '../../src/core/diagnostics.js'
import { finishParts } from '../../src/session/parts/finish.js'
import type { PartOptions } from '../../src/session/parts/options.js'
import { type PartChoice, runPart, runPartWith } from '../../src/session/parts/part.js'
import { plan } from '../../src/session/plan.js'
import { run } from '../../src/session/run.js'
import { folderPlace } from '../../src/storage/local/shared/folder.js'
import { enter } from '../../src/storage/meeting/presence.js'
import { bf16, f32, inFolder, numbers, type RawTensor, writeModel } from '../support/files.js'
import { openCounting } from '../support/pools.js'
import { BIN, plainEnv } from '../support/terge.js'

const OPTIONS: PartOptions = { threads: 1, sync: false, commands: 'run' }
const WORK = '.terge.parts-out'

const layers = (seed: number): Record<string, RawTensor> =>
  Object.fromEntries(
    Array.from({ length: 9 }, (_, layer) => [
      `layers.${layer}.weight`,
      layer % 3 === 0
        ? bf16([30 + layer, 50], numbers((30 + layer) * 50, seed + layer))
        : f32([40, layer + 1], numbers(40 * (layer + 1), seed + layer)),
    ]),
  )

function prepare(folder: string): void {
  for (const [index, name] of ['a', 'b', 'c'].entries())
    writeModel(path.join(folder, `${name}.safetensors`), {
      ...layers(100 * index),
      ...(name === 'c' ? { more: f32([5], [1, 2, 3, 4, 5]) } : {}),
    })
  // Networks with nothing in common, so that each seed gives another alignment.
  for (const [name, seed] of [
    ['x', 7],
    ['y', 17],
  ] as const)
    writeModel(path.join(folder, `${name}.safetensors`), {
      'fc1.weight': f32([12, 8], numbers(96, seed)),
      'fc2.weight': f32([12, 12], numbers(144, seed + 1)),
      'fc3.weight': f32([12, 12], numbers(144, seed + 2)),
      'fc4.weight': f32([4, 12], numbers(48, seed + 3)),
    })
  writeFileSync(path.join(folder, 'evaluate.mjs'), EVALUATE)
  writeFileSync(path.join(folder, 'r.yml'), SHARDED)
}

/** A sharded output and a single file, with a method that reads the whole models first. */
const SHARDED = `terge: 1
models: {a: a.safetensors, b: b.safetensors, c: c.safetensors}
steps:
  mean: {merge: {base: a, method: metagpt, models: [b, c]}}
  ties: {merge: {base: a, method: ties, models: [b, c], parameters: {density: 0.4}}}
outputs:
  - {from: mean, path: out, shard_size: 3KB}
  - {from: ties, path: ties.safetensors}
`

/** Points of a path, and an adapter with ranks by energy. */
const PATHS = `terge: 1
models: {a: a.safetensors, b: b.safetensors, c: c.safetensors}
steps:
  path: {interpolate: {from: a, to: b, points: 3}}
  adapter: {extract: {lora: {from: c, base: a, energy: 0.6}}}
outputs:
  - {from: path, path: out}
  - {from: adapter, path: adapter}
`

const planned = (folder: string) => plan(path.join(folder, 'r.yml'))
const part = async (folder: string, choice: PartChoice, options: PartOptions = {}) =>
  runPart(await planned(folder), choice, { ...OPTIONS, ...options })
const finish = async (folder: string, options: PartOptions = {}) =>
  finishParts(await planned(folder), { ...OPTIONS, ...options })

/** Seeds of an alignment, of which a command that reads the whole output chooses one. */
const SELECT = `terge: 1
models: {a: x.safetensors, b: y.safetensors}
rebasin: {spec: chain, model: b, onto: a, restarts: 4, select: {maximize: height}}
merge: {method: linear}
output: {path: out, shard_size: 1KB}
evaluate: {command: [node, evaluate.mjs, "{model}"]}
`
/** The last number of the last shard. */
const EVALUATE = `import { readdirSync, readFileSync } from 'node:fs'
const name = readdirSync(process.argv[2]).filter((name) => name.endsWith('.safetensors')).sort().at(-1)
const bytes = readFileSync(process.argv[2] + '/' + name)
console.log(JSON.stringify({ height: bytes.readFloatLE(bytes.length - 4) }))
`

/** Each file that a run made, hidden ones as well. */
function filesOf(folder: string): Map<string, string> {
  const entries = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile())
  const files = entries.map((entry) => path.join(entry.parentPath, entry.name)).sort()
  return new Map(files.map((file) => [path.relative(folder, file), readFileSync(file).toString('base64')]))
}

const expected = new Map<string, Map<string, string>>()

/** Does a recipe in parts, in a folder with the models, and compares with one run. */
const sameAsRun = (recipe: string, work: (folder: string) => Promise<void>): Promise<void> =>
  inFolder(async (folder) => {
    prepare(folder)
    writeFileSync(path.join(folder, 'r.yml'), recipe)
    if (!expected.has(recipe))
      await inFolder(async (whole) => {
        cpSync(folder, whole, { recursive: true, preserveTimestamps: true })
        await run(await planned(whole), OPTIONS)
        expected.set(recipe, filesOf(whole))
      })
    await work(folder)
    const found = filesOf(folder)
    assert.equal([...found.keys()], [...expected.get(recipe)!.keys()])
    for (const [name, bytes] of expected.get(recipe)!) assert.ok(found.get(name) === bytes, name)
  })

/** The code of the error, and its text. */
async function refused(work: Promise<unknown>): Promise<readonly [code: string, text: string, exit: number]> {
  const error = await work.then(
    () => undefined,
    (error: unknown) => error,
  )
  assert.ok(error instanceof Fault, String(error))
  return [error.diagnostics[0]!.code, `${error.message}; ${error.diagnostics[0]!.hint}`, error.exit]
}

for (const [name, recipe] of [
  ['whole models, shards and a file', SHARDED],
  ['a path, an adapter with ranks by energy', PATHS],
  ['seeds that a command chooses from', SELECT],
] as const) {
  test(`parts in any order, with any number of threads: ${name}`, async () => {
    for (const [of, order] of [
      [1, [0]],
      [2, [1, 0]],
      [5, [3, 0, 4, 2, 1]],
    ] as const)
      await sameAsRun(recipe, async (folder) => {
        await part(folder, 'analyse')
        for (const index of order) await part(folder, { index, of }, { threads: 1 + (index % 2) })
        await finish(folder)
      })
  })

  test(`the same part twice at once, and all parts at once: ${name}`, () =>
    sameAsRun(recipe, async (folder) => {
      await Promise.all([part(folder, 'analyse'), part(folder, 'analyse')])
      await Promise.all([0, 1, 1, 2].map((index) => part(folder, { index, of: 3 })))
      await finish(folder)
    }))
}

test('an interrupted part continues with what it has done', () =>
  sameAsRun(SHARDED, async (folder) => {
    await part(folder, 'analyse')
    const stop = new AbortController()
    const interrupted = runPartWith(
      await planned(folder),
      { index: 0, of: 2 },
      { ...OPTIONS, signal: stop.signal },
      { openPool: openCounting(8, () => stop.abort()) },
    )
    const [code, text, exit] = await refused(interrupted)
    assert.is(code, 'interrupted')
    assert.match(text, 'finished work is kept')
    assert.is(exit, 130)
    const [journal] = readdirSync(path.join(folder, WORK)).filter((name) => name.endsWith('.journal'))
    const lines = readFileSync(path.join(folder, WORK, journal!), 'utf8')
      .trimEnd()
      .split('\n').length
    assert.ok(lines > 2, 'the journal has records')
    const starts: number[] = []
    await part(folder, { index: 0, of: 2 }, { listen: (event) => event.kind === 'start' && starts.push(event.done) })
    assert.ok(starts[0]! > 0, 'tensors are taken over')
    await part(folder, { index: 1, of: 2 })
    await finish(folder)
  }))

test('a part that is killed, and a killed finish', () =>
  sameAsRun(SHARDED, async (folder) => {
    const terge = (...args: string[]) =>
      spawn(process.execPath, [BIN, 'run', 'r.yml', '--no-sync', '--threads', '1', '--json', ...args], {
        cwd: folder,
        env: plainEnv,
        stdio: ['ignore', 'ignore', 'pipe'],
      })
    /** Kills the command when it says this, if it has not ended. */
    const kill = (args: string[], at: RegExp) =>
      new Promise<void>((resolve) => {
        const child = terge(...args)
        child.stderr.on('data', (text: Buffer) => at.test(String(text)) && child.kill('SIGKILL'))
        child.on('exit', () => resolve())
      })
    await part(folder, 'analyse')
    await kill(['--part', '1/2'], /"start"/)
    await part(folder, { index: 1, of: 2 })
    await part(folder, { index: 0, of: 2 })
    await kill(['--finish'], /"publishing"/)
    await finish(folder)
  }))

test('a finish that is interrupted at any time is run again', () =>
  sameAsRun(SHARDED, async (folder) => {
    await part(folder, 'analyse')
    for (const index of [0, 1]) await part(folder, { index, of: 2 })
    for (const at of ['notice', 'phase', 'output'] as const) {
      const stop = new AbortController()
      const listen = (event: { readonly kind: string }) => event.kind === at && stop.abort()
      const result = finish(folder, { signal: stop.signal, listen })
      if (at === 'output') await result.catch(() => {})
      else await refused(result)
    }
    await finish(folder)
  }))

test('a work folder elsewhere, and another output path', () =>
  inFolder(async (folder) => {
    prepare(folder)
    const work = path.join(folder, 'shared', 'work')
    const before = readdirSync(folder)
    await part(folder, 'analyse', { work })
    await part(folder, { index: 0, of: 1 }, { work })
    assert.equal(readdirSync(folder).sort(), [...before, 'shared'].sort())
    await finish(folder, { work })
    assert.ok(existsSync(path.join(folder, 'out', 'lineage.json')))
    assert.not(existsSync(work))
    // Run again, it finds its own outputs.
    await finish(folder, { work })
  }))

test('what is missing or does not fit is refused', () =>
  inFolder(async (folder) => {
    prepare(folder)
    const work = path.join(folder, WORK)
    assert.is((await refused(finish(folder)))[0], 'part-missing')
    const [missing, how] = await refused(part(folder, { index: 0, of: 3 }))
    assert.is(missing, 'analysis-missing')
    assert.match(how, '--part analyse')
    await part(folder, 'analyse')
    await part(folder, { index: 1, of: 3 })
    assert.match(
      (await refused(finish(folder)))[1],
      '2 parts of 3 are not done: 0, 2; run the same command with --part 0/3',
    )
    assert.match((await refused(part(folder, { index: 0, of: 2 })))[1], 'has work in 3 parts, not in 2')
    for (const index of [0, 2]) await part(folder, { index, of: 3 })

    // Another plan.
    writeFileSync(path.join(folder, 'r.yml'), SHARDED.replace('0.4', '0.5'))
    assert.is((await refused(part(folder, { index: 0, of: 3 })))[0], 'other-work')
    assert.is((await refused(finish(folder)))[0], 'other-work')
    writeFileSync(path.join(folder, 'r.yml'), SHARDED)

    // A part that still runs, here and on another machine.
    const presence = await enter(folderPlace(work), 'part-1-of-3')
    assert.match((await refused(finish(folder)))[1], 'part 1 of 3 is still running')
    await presence.leave()
    const finishing = await enter(folderPlace(work), 'finish')
    assert.is((await refused(part(folder, { index: 0, of: 3 })))[0], 'work-in-use')
    await finishing.leave()

    // A damaged record, damaged bytes, and an input that changed after the parts had read it.
    const record = path.join(work, 'part-2-of-3.record')
    const text = readFileSync(record, 'utf8')
    writeFileSync(record, text.replace('"key"', '"kex"'))
    assert.match((await refused(finish(folder)))[1], '1 part of 3 is not done: 2;')
    writeFileSync(record, text)
    const shard = path.join(work, 'outputs', '0', readdirSync(path.join(work, 'outputs', '0')).sort()[0]!)
    const bytes = readFileSync(shard)
    bytes[bytes.length - 1]! ^= 1
    writeFileSync(shard, bytes)
    assert.match(
      (await refused(finish(folder)))[1],
      /1 part of 3 is not valid.*: 0; run the same command with --part 0\/3/,
    )
    await part(folder, { index: 0, of: 3 })
    const input = path.join(folder, 'b.safetensors')
    const before = readFileSync(input)
    const changed = Buffer.from(before)
    changed[changed.length - 1]! ^= 1
    writeFileSync(input, changed)
    assert.is((await refused(finish(folder)))[0], 'analysis-missing')
    assert.is((await refused(part(folder, { index: 0, of: 3 })))[0], 'analysis-missing')
    // The same content with another time is read again, and accepted.
    writeFileSync(input, before)
    utimesSync(input, 1, 1)
    await finish(folder)

    // Outputs that exist.
    assert.is((await refused(part(folder, { index: 0, of: 3 })))[0], 'output-exists')
  }))

test('an input that changed between parts is noticed without analyses', () =>
  inFolder(async (folder) => {
    prepare(folder)
    writeFileSync(path.join(folder, 'r.yml'), SHARDED.replace('metagpt', 'task_arithmetic'))
    await part(folder, { index: 0, of: 2 })
    const input = path.join(folder, 'c.safetensors')
    const changed = readFileSync(input)
    for (let at = 2000; at < changed.length; at += 1000) changed[at]! ^= 1
    writeFileSync(input, changed)
    await part(folder, { index: 1, of: 2 })
    assert.match((await refused(finish(folder)))[1], '1 part of 2 is not valid')
    await part(folder, { index: 0, of: 2 })
    await finish(folder)
  }))

test('statistics are checked by the parts that merge with them, and once more at the end', () =>
  inFolder(async (folder) => {
    prepare(folder)
    const names = Object.entries(layers(0))
    const statistics = (name: string, numberOf: (layer: number) => number) =>
      writeModel(
        path.join(folder, name),
        Object.fromEntries(
          names.map(([tensor, { shape }], layer) => {
            const count = shape.reduce((product, side) => product * side, 1)
            return [tensor, f32(shape, new Array<number>(count).fill(numberOf(layer)))]
          }),
        ),
      )
    statistics('fa.safetensors', () => 0)
    statistics('fb.safetensors', (layer) => (layer === names.length - 1 ? -1 : 1))
    writeFileSync(
      path.join(folder, 'r.yml'),
      `terge: 1
models: {a: {path: a.safetensors, statistics: fa.safetensors}, b: {path: b.safetensors, statistics: fb.safetensors}}
merge: {method: fisher}
output: out.safetensors
`,
    )
    const index = (await planned(folder)).plan.outputs[0]!.tensors.at(-1)!.name.includes('8') ? 1 : 0
    await part(folder, { index: 1 - index, of: 2 })
    assert.is((await refused(part(folder, { index, of: 2 })))[0], 'bad-statistics')
    statistics('fb.safetensors', () => 1)
    for (const index of [0, 1]) await part(folder, { index, of: 2 })
    const codes = (await finish(folder)).warnings.map(({ code }) => code)
    assert.equal(codes, ['bad-statistics'])
  }))

test('work folders of others, links and places that are not for parts are refused', () =>
  inFolder(async (folder) => {
    prepare(folder)
    const own = path.join(folder, 'own')
    mkdirSync(own)
    writeFileSync(path.join(own, 'notes'), 'mine')
    const go = (work: string) => refused(part(folder, 'analyse', { work }))
    assert.is((await go(own))[0], 'foreign-work-folder')
    const link = path.join(folder, 'link')
    symlinkSync(own, link)
    assert.is((await go(link))[0], 'foreign-work-folder')
    for (const address of ['s3://bucket', 'hf:org/name', 'gs://bucket/prefix'])
      assert.is((await go(address))[0], 'bad-value')
    // A run would make a folder `s3:`.
    const away = plan(path.join(folder, 'r.yml'), {
      text: 'terge: 1\nmodels: {a: a.safetensors, b: b.safetensors}\nmerge: {method: linear}\noutput: s3://bucket/x\n',
    })
    const running = run(await away, { ...OPTIONS, work: 's3://bucket/prefix' })
    assert.is((await refused(running))[0], 'bad-value')
    const notices: string[] = []
    writeFileSync(
      path.join(folder, 'one.yml'),
      'terge: 1\nmodels: {a: a.safetensors, b: b.safetensors}\nmerge: {method: linear}\noutput: one.safetensors\n',
    )
    await run(await plan(path.join(folder, 'one.yml')), {
      ...{ ...OPTIONS, work: own },
      listen: (event) => event.kind === 'notice' && notices.push(event.message),
    })
    assert.equal(notices, ['--work has no effect: all outputs are on this machine'])
    // A link among the files that parts write.
    const work = path.join(folder, 'work')
    await part(folder, 'analyse', { work })
    mkdirSync(path.join(work, 'outputs', '0'), { recursive: true })
    const { name } = (await planned(folder)).plan.outputs[0]!.files[0]!
    symlinkSync(path.join(folder, 'a.safetensors'), path.join(work, 'outputs', '0', name))
    const before = readFileSync(path.join(folder, 'a.safetensors'))
    const [code] = await refused(part(folder, { index: 0, of: 1 }, { work }))
    assert.is(code, 'foreign-work-folder')
    assert.equal(readFileSync(path.join(folder, 'a.safetensors')), before)
    assert.equal(readFileSync(path.join(own, 'notes'), 'utf8'), 'mine')
    // A damaged number of parts.
    for (const bound of ['99999999999', '-1', '0', '1e3', 'x']) {
      writeFileSync(path.join(work, 'parts.bound'), bound)
      assert.is((await refused(finish(folder, { work })))[0], 'foreign-work-folder', bound)
    }
  }))

test.run()
