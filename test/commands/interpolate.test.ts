/** Interpolations through the real command: a checkpoint a point, made one after another. */

import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { inFolder } from '../support/files.js'
import { fixture, terge } from '../support/terge.js'

const [A, B] = [0, 1].map((n) => fixture(`digits/mlp256-${n}.safetensors`))
/** A parabola over the path, so that the barrier is known: 1 at the middle. */
const SCRIPT = `import { appendFileSync, existsSync, statSync } from 'node:fs'
const model = process.argv[2]
appendFileSync('calls', (statSync(model).isFile() ? 'file' : 'folder') + '\\n')
const t = Number(/t-(\\d\\.\\d+)/.exec(model)[1])
console.log(JSON.stringify({ size: statSync(model).size, loss: 2 + t + 4 * t * (1 - t) }))
`
const recipe = (interpolate: string): string =>
  `terge: 1\nmodels: {a: ${A}, b: ${B}}\nsteps:\n  path: {interpolate: {from: a, to: b, ${interpolate}}}\noutput: out\n`

const read = (folder: string, name: string): string => readFileSync(path.join(folder, name), 'utf8')

test('points, their figures, a plot, the barrier; resume makes what is missing, to the byte', () =>
  inFolder(async (folder) => {
    writeFileSync(path.join(folder, 'evaluate.mjs'), SCRIPT)
    writeFileSync(
      path.join(folder, 'r.yml'),
      recipe('at: [0, 0.5, 1], evaluate: {command: [node, evaluate.mjs, "{model}"]}'),
    )
    const planned = await terge(['plan', 'r.yml'], folder)
    assert.match(planned.out, /out\/t-0\.000 … t-1\.000: 3 checkpoints along path, evaluated\n/)
    const run = (...flags: string[]) => terge(['run', 'r.yml', '--threads', '1', '--allow-commands', ...flags], folder)
    const ran = await run()
    assert.is(ran.code, 0, ran.err)
    assert.match(
      ran.out,
      /^out\/t-0\.000\.safetensors: 8 tensors, 604 kB, loss 2, size 603800; lineage in out\/t-0\.000\.lineage/,
    )
    assert.match(ran.out, /\n\nloss along path\n(.*\n){8} *\+-+\n *t = 0 +1\n/)
    assert.match(ran.out, /\nbarrier of loss: 1 at t = 0\.5\n\nsummary in out\/summary\.json, out\/summary\.csv\n$/)
    assert.ok(ran.out.split('\n').every((line) => line.length <= 80 || line.startsWith('out/')))
    assert.is(read(folder, 'calls'), 'file\nfile\nfile\n')

    const names = ['t-0.000', 't-0.500', 't-1.000'].flatMap((name) => [`${name}.lineage.json`, `${name}.safetensors`])
    assert.equal(readdirSync(path.join(folder, 'out')).sort(), ['summary.csv', 'summary.json', ...names])
    const [from, to] = [A, B].map((file) => readFileSync(file!))
    const tensors = (file: Buffer) => file.subarray(8 + Number(file.readBigUInt64LE()))
    const written = (name: string) => readFileSync(path.join(folder, 'out', name))
    assert.ok(tensors(written('t-0.000.safetensors')).equals(tensors(from!)), 'the first model, bit for bit')
    assert.ok(tensors(written('t-1.000.safetensors')).equals(tensors(to!)), 'the second')
    const lineage = JSON.parse(read(folder, 'out/t-0.500.lineage.json'))
    assert.equal(lineage.output.point, { name: 't-0.500', t: 0.5 })
    assert.is(lineage.evaluations.loss, 3.5)
    for (const model of ['a', 'b']) assert.match(lineage.models[model].files[0].digest, /^xxh3t:/)

    const refused = await run()
    assert.equal([refused.code, refused.out], [2, ''])
    assert.match(refused.err, 'output-exists')
    assert.is(read(folder, 'calls').length, 15, 'nothing ran')

    const before = names.map((name) => written(name))
    const made = statSync(path.join(folder, 'out/t-0.500.safetensors')).mtimeMs
    for (const name of names.slice(-2)) rmSync(path.join(folder, 'out', name))
    const resumed = await run('--resume', '--json')
    assert.is(resumed.code, 0, resumed.err)
    assert.equal(
      JSON.parse(resumed.out).outputs.map(({ evaluations }: { evaluations: { loss: number } }) => evaluations.loss),
      [2, 3.5, 3],
    )
    assert.is(read(folder, 'calls'), 'file\nfile\nfile\nfile\n')
    assert.is(statSync(path.join(folder, 'out/t-0.500.safetensors')).mtimeMs, made)
    for (const [index, name] of names.entries()) assert.ok(written(name).equals(before[index]!), name)

    const verified = await terge(['verify', 'out/t-0.500.lineage.json', '--reproduce'], folder)
    assert.equal([verified.code, verified.err.match(/error/)], [0, null], verified.err)
    assert.match(verified.out, 'a second run produced the same bytes')
    assert.is(read(folder, 'calls').length, 20, 'no command ran for that')
  }))

test('keep: false leaves the lineages alone', () =>
  inFolder(async (folder) => {
    writeFileSync(path.join(folder, 'evaluate.mjs'), SCRIPT)
    const text = recipe('points: 2, method: slerp, keep: false, evaluate: {command: [node, evaluate.mjs, "{model}"]}')
    writeFileSync(path.join(folder, 'r.yml'), text)
    const ran = await terge(['run', 'r.yml', '--allow-commands'], folder)
    assert.is(ran.code, 0, ran.err)
    assert.match(
      ran.out,
      /^out\/t-0\.000: evaluated, not kept, loss 2, size 603800; lineage in out\/t-0\.000\/lineage\.json\n/,
    )
    for (const name of ['t-0.000', 't-1.000'])
      assert.equal(readdirSync(path.join(folder, 'out', name)), ['lineage.json'])
    const again = ['--reproduce', '--allow-commands', '--recipe-folder', '.']
    const verified = await terge(['verify', 'out/t-1.000/lineage.json', ...again], folder)
    assert.is(verified.code, 0, verified.err)
    const calls = read(folder, 'calls')
    assert.is(calls, 'file\nfile\nfile\n')
    const resumed = await terge(['run', 'r.yml', '--allow-commands', '--resume'], folder)
    assert.is(resumed.code, 0, resumed.err)
    assert.is(read(folder, 'calls'), calls)
    const nothing = recipe('points: 2, keep: false')
    writeFileSync(path.join(folder, 'n.yml'), nothing)
    assert.match((await terge(['validate', 'n.yml'], folder)).err, 'nothing-kept')
  }))

test('a duplicate point is an error; the nearest two numbers are two points', () =>
  inFolder(async (folder) => {
    writeFileSync(path.join(folder, 'r.yml'), recipe('at: [0.5, 0, 0.5]'))
    const twice = await terge(['validate', 'r.yml'], folder)
    assert.match(twice.err, /^r\.yml:4:\d+: error bad-value: interpolate has the point 0\.5 twice/m)
    writeFileSync(path.join(folder, 'r.yml'), recipe('at: [1.0e-20, 2.0e-20]'))
    const { out } = await terge(['plan', 'r.yml'], folder)
    assert.match(out, /t-1e-20 … t-2e-20: 2 checkpoints/)
  }))

test('an output that exists is refused before anything is made', () =>
  inFolder(async (folder) => {
    writeFileSync(path.join(folder, 'r.yml'), recipe('points: 3'))
    mkdirSync(path.join(folder, 'out'))
    writeFileSync(path.join(folder, 'out/t-1.000.safetensors'), '')
    const ran = await terge(['run', 'r.yml'], folder)
    assert.is(ran.code, 2)
    assert.match(ran.err, 'output-exists')
    assert.equal(readdirSync(path.join(folder, 'out')), ['t-1.000.safetensors'])
    rmSync(path.join(folder, 'out'), { recursive: true })
    const fresh = await terge(['run', 'r.yml', '--threads', '1', '--no-sync'], folder)
    assert.is(fresh.code, 0, fresh.err)
    assert.ok(existsSync(path.join(folder, 'out/t-0.500.safetensors')))
    assert.not.match(fresh.out, 'along path')
  }))

test.run()
