/** Where outputs may go, and what they may replace, through the real command. */

import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { attempt } from '../../src/core/system/attempt.js'
import { asyncFaultOf } from '../checkpoints/helpers.js'
import { matrix, stored, writeAdapter } from '../support/adapters.js'
import { inFolder } from '../support/files.js'
import { fixture, terge } from '../support/terge.js'

const [A, B] = [0, 1].map((n) => fixture(`digits/mlp256-${n}.safetensors`)) as [string, string]

const refused = (ran: { code: number; err: string }, code: string, what: RegExp | string): void => {
  assert.equal([ran.code, ran.err.includes(code)], [2, true], ran.err)
  assert.match(ran.err, what)
}

if (existsSync('/proc/self'))
  test('a path where no folder can be created is an error', async () => {
    for (const place of ['/proc/out.safetensors', '/proc/deeper/out'])
      refused(await terge(['merge', A, B, '-o', place]), 'cannot-write', `${place}: cannot be written`)
  })

if (existsSync('/proc/self'))
  test('a file of text that cannot be written is an error with a way out, and no part of it stays', () =>
    inFolder(async (folder) => {
      const hint = 'check the path, its permissions and the disk'
      for (const [name, code] of [
        ['/proc/r.yml', 'missing-folder'],
        ['/proc/self/r.yml', 'missing-folder'],
        [`${A}/r.yml`, 'cannot-write'],
      ] as const) {
        const ran = await terge(['init', A, B, '-o', name], folder)
        refused(ran, `error ${code}: ${name}`, code === 'cannot-write' ? hint : 'create the folder first')
      }
      const full = await asyncFaultOf(() =>
        attempt('out', 2, () => Promise.reject(Object.assign(new Error('ENOSPC: full'), { code: 'ENOSPC' }))),
      )
      assert.equal([full.code, full.hint], ['disk-full', 'free some space, or choose another disk'])
    }))

test('an output path with the extension of another format is an error, and a folder of that name is not', () =>
  inFolder(async (folder) => {
    const recipe = (output: string) =>
      writeFileSync(
        path.join(folder, 'r.yml'),
        `terge: 1\nmodels: {a: ${A}, b: ${B}}\nmerge: {method: linear}\noutput: ${output}\n`,
      )
    for (const name of ['out.pt', 'out.bin', 'out.pth', 'out.ckpt', 'out.gguf', 'out.SAFETENSORS']) {
      recipe(name)
      const hint = `write out.safetensors, or ${name}/ for a folder of that name`
      for (const args of [
        ['validate', 'r.yml'],
        ['run', 'r.yml'],
      ]) {
        const ran = await terge(args, folder)
        refused(ran, 'bad-value', `r.yml:4:9: error bad-value: '${name}': terge writes safetensors files`)
        assert.match(ran.err, hint)
      }
      recipe('fine')
      refused(await terge(['run', 'r.yml', '-o', name], folder), 'bad-value', `-o '${name}': terge writes safetensors`)
      const merged = await terge(['merge', A, B, '-o', name], folder)
      refused(merged, 'bad-value', `--output: '${name}': terge writes safetensors files`)
    }
    assert.equal(readdirSync(folder), ['r.yml'])
    const made = await terge(['run', 'r.yml', '-o', 'out.bin/', '--no-sync'], folder)
    assert.equal([made.code, existsSync(path.join(folder, 'out.bin/model.safetensors'))], [0, true])
  }))

test('--force replaces one checkpoint, and no folder of several', () =>
  inFolder(async (folder) => {
    const merge = () => terge(['merge', A, B, '-o', 'out', '--force', '--no-sync'], folder)
    assert.equal([(await merge()).code, (await merge()).code], [0, 0])
    const out = (name: string) => path.join(folder, 'out', name)
    writeFileSync(out('notes.lineage.json'), '')
    refused(await merge(), 'output-exists', /other results: 'notes.lineage.json', so terge does not replace it/)
    mkdirSync(out('deeper'))
    refused(await merge(), 'output-exists', /holds another, 'deeper', which does not belong to a model/)
    assert.ok(existsSync(out('deeper')))
    mkdirSync(path.join(folder, 'several'))
    for (const name of ['one', 'two']) copyFileSync(A, path.join(folder, 'several', `${name}.safetensors`))
    const several = await terge(['merge', A, B, '-o', 'several', '--force', '--no-sync'], folder)
    refused(several, 'output-exists', /several models: 'one' and 'two'/)
    assert.equal(readdirSync(path.join(folder, 'several')), ['one.safetensors', 'two.safetensors'])
  }))

test('an output cannot replace its inputs, by any name', () =>
  inFolder(async (folder) => {
    mkdirSync(path.join(folder, 'model'))
    copyFileSync(A, path.join(folder, 'model/model.safetensors'))
    copyFileSync(B, path.join(folder, 'b.safetensors'))
    symlinkSync('model', path.join(folder, 'link'))
    symlinkSync('b.safetensors', path.join(folder, 'link.safetensors'))
    const cases = [
      ['model', 'model/model.safetensors', /would replace its input model 'a'/],
      ['link', 'model', /would replace its input model 'a'/],
      ['model', 'link/model.safetensors', /would replace its input model 'a'/],
      ['model', 'model/other.safetensors', /would be written into the folder of its input model 'a'/],
      ['link.safetensors', 'b.safetensors', /would replace its input model 'a'/],
    ] as const
    for (const [model, output, what] of cases) {
      const text = `terge: 1\nmodels: {a: ${model}, b: ${B}}\nmerge: {method: linear}\noutput: ${output}\n`
      writeFileSync(path.join(folder, 'r.yml'), text)
      const ran = await terge(['run', 'r.yml', '--force'], folder)
      refused(ran, 'output-is-input', what)
      assert.match(ran.err, 'r.yml:4:9')
    }
    const factors = { A: matrix([2, 64], 1), B: matrix([256, 2], 2) }
    writeAdapter(
      path.join(folder, 'ad'),
      Object.fromEntries(Object.entries(factors).map(([k, m]) => [`base_model.model.fc1.lora_${k}.weight`, stored(m)])),
      { r: 2, lora_alpha: 2 },
    )
    const over = await terge(['merge', `${A}+ad`, B, '-o', 'ad/adapter_model.safetensors', '--force'], folder)
    refused(over, 'output-is-input', "would replace its input model 'ad'")
    assert.is((await terge(['merge', 'b.safetensors', A, '-o', 'beside.safetensors', '--no-sync'], folder)).code, 0)
  }))

test('an output cannot be inside another one, including points of interpolations', () =>
  inFolder(async (folder) => {
    const cases = [
      [
        '{from: m, path: out/one.safetensors}, {from: m, path: out}',
        "'out/one.safetensors' is inside the output 'out'",
      ],
      ['{from: m, path: out}, {from: m, path: out/deeper/one}', "'out/deeper/one' is inside the output 'out'"],
      ['{from: i, path: out}, {from: m, path: out/t-0.000.safetensors}', "same path as 'out/t-0.000.safetensors'"],
      [
        '{from: i, path: out/points}, {from: m, path: out}',
        "'out/points/t-0.000.safetensors' is inside the output 'out'",
      ],
    ] as const
    const recipe = (outputs: string) =>
      `terge: 1\nmodels: {a: ${A}, b: ${B}}\nsteps:\n  m: {merge: {method: linear}}\n` +
      `  i: {interpolate: {from: a, to: b, points: 2}}\noutputs: [${outputs}]\n`
    for (const [outputs, what] of cases) {
      writeFileSync(path.join(folder, 'r.yml'), recipe(outputs))
      const ran = await terge(['run', 'r.yml', '--force'], folder)
      refused(ran, 'contradiction', what)
      assert.match(ran.err, /r\.yml:6:\d+/)
      assert.is(ran.err.match(/error/g)!.length, 1, ran.err)
    }
    assert.equal(readdirSync(folder), ['r.yml'])
    writeFileSync(path.join(folder, 'r.yml'), recipe('{from: i, path: out}, {from: m, path: out/m.safetensors}'))
    const beside = await terge(['run', 'r.yml', '--no-sync'], folder)
    assert.is(beside.code, 0, beside.err)
  }))

test('errors of outputs, subfolders and lineages are one line with a hint', () =>
  inFolder(async (folder) => {
    mkdirSync(path.join(folder, 'model/unet'), { recursive: true })
    const recipe = (model: string, output: string) =>
      `terge: 1\nmodels: {a: ${model}, b: ${B}}\nmerge: {method: linear}\noutput: ${output}\n`
    const checked = async (model: string, output: string) => {
      writeFileSync(path.join(folder, 'r.yml'), recipe(model, output))
      return terge(['validate', 'r.yml'], folder)
    }
    refused(await checked(A, '{path: out, shard_size: 300B}'), 'bad-value', 'hint: write at least 1000 bytes')
    const evaluate = await checked(A, '{path: out, evaluate: {command: [node]}}')
    refused(evaluate, 'unknown-key', 'evaluate is a top-level key: write it next to output')
    const inside = await checked('{path: model, subfolder: unit}', 'out')
    refused(inside, 'missing-model', "model has no folder 'unit'")
    assert.match(inside.err, /r\.yml:2:38: .*\n.*\n.*\n {2}hint: did you mean 'unet'\?/)
    writeFileSync(path.join(folder, 'l.json'), 'terge: 1\nmodels: {}\n')
    refused(await terge(['verify', 'l.json'], folder), 'bad-lineage', /l\.json: not JSON\n/)
  }))

test('a run starts no more threads than are useful', () =>
  inFolder(async (folder) => {
    const many = await terge(
      ['merge', A, B, '-o', 'many.safetensors', '--threads', '500', '--json', '--no-sync'],
      folder,
    )
    assert.is(many.code, 0, many.err)
    const started = many.err.split('\n').find((line) => line.includes('"start"'))
    assert.ok(JSON.parse(started!).threads <= Math.max(8, availableParallelism()), started)
    const one = await terge(['merge', A, B, '-o', 'one.safetensors', '--threads', '1', '--no-sync'], folder)
    assert.is(one.code, 0, one.err)
    const [bytes, expected] = ['many', 'one'].map((name) => readFileSync(path.join(folder, `${name}.safetensors`)))
    assert.ok(bytes!.equals(expected!))
  }))

test.run()
