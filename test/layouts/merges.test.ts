/** Merges of models in two layouts: bit-equal to the same merge in one layout, for every kind of method and step. */
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { readAs } from '../../src/layouts/model.js'
import { bf16, numbers, type RawTensor, safetensors } from '../support/files.js'
import { layoutOf, opened, readTensors, sameTensors } from '../support/layouts.js'
import { fixture, terge } from '../support/terge.js'

type Stored = Readonly<Record<string, RawTensor>>

const folder = mkdtempSync(path.join(os.tmpdir(), 'terge-layouts-'))
test.after(() => rmSync(folder, { recursive: true, force: true }))

/** By fixture: the side with the base's layout and the other one, and their layouts. */
const PAIRS = {
  mixtral: { one: 'v5', other: 'released', layouts: ['mixtral/transformers-5', 'mixtral/released'] },
  phi3: { one: 'parts', other: 'fused', layouts: ['phi3/parts', 'phi3/fused'] },
} as const

/** Writes a model with other numbers than the fixture's, in both layouts. */
async function variant(name: keyof typeof PAIRS, number: number): Promise<void> {
  const { one, other, layouts } = PAIRS[name]
  const source = path.join(fixture('layouts'), name, one)
  const own = path.join(folder, `${name}-${number}-one`)
  mkdirSync(own)
  cpSync(path.join(source, 'config.json'), path.join(own, 'config.json'))
  const model = await opened(source)
  const stored = await readTensors(model, model.tensors)
  const varied: Stored = Object.fromEntries(
    Object.entries(stored).map(([key, { shape, bytes }], at) => {
      const words = new Uint16Array(bytes.slice().buffer)
      const noise = numbers(words.length, 31 * number + at)
      const values = Float32Array.from(
        noise,
        (by, i) => new Float32Array(Uint32Array.of(words[i]! << 16).buffer)[0]! + by / 8,
      )
      return [key, number === 0 ? stored[key]! : bf16(shape, values)]
    }),
  )
  writeFileSync(path.join(own, 'model.safetensors'), safetensors(varied))
  const again = await opened(own)
  const [from, to] = layouts.map(layoutOf)
  const made = readAs(from!.family, from!.form, to!.form, again)
  assert.equal(made.problems, [])
  const turned = path.join(folder, `${name}-${number}-other`)
  mkdirSync(turned)
  cpSync(path.join(fixture('layouts'), name, other, 'config.json'), path.join(turned, 'config.json'))
  writeFileSync(path.join(turned, 'model.safetensors'), safetensors(await readTensors(again, made.tensors)))
}

test('the models are written in both layouts', async () => {
  for (const name of ['mixtral', 'phi3'] as const) for (const number of [0, 1, 2]) await variant(name, number)
})

let runs = 0

/** Runs a recipe, and returns the tensors that it wrote. `said`: what it reported. */
async function ran(recipe: string): Promise<{ readonly tensors: Stored; readonly said: string }> {
  const name = `run-${runs++}`
  writeFileSync(path.join(folder, `${name}.yml`), recipe.replaceAll('OUT', name))
  const { code, err } = await terge(['run', `${name}.yml`], folder)
  assert.is(code, 0, `${recipe}\n${err}`)
  const model = await opened(path.join(folder, name))
  return { tensors: await readTensors(model, model.tensors), said: err }
}

/** The models of a recipe, `a` and `b` in the base's layout or in the other one. */
const models = (name: string, side: 'one' | 'other'): string =>
  `terge: 1\nmodels:\n  base: ${name}-0-one\n  a: ${name}-1-${side}\n  b: ${name}-2-${side}\n`

const MERGES: Readonly<Record<string, string>> = {
  linear: 'base: base\nmerge: {method: linear, models: [base, a, b], weights: [0.5, 0.3, 0.2]}',
  slerp: 'base: base\nmerge: {method: slerp, models: [base, a], parameters: {t: 0.3}}',
  nuslerp: 'base: base\nmerge: {method: nuslerp, models: [a, b]}',
  karcher: 'merge: {method: karcher, models: [base, a, b]}',
  median: 'merge: {method: median, models: [base, a, b]}',
  task_arithmetic: 'base: base\nmerge: {method: task_arithmetic, models: [a, b], weights: [0.6, 0.7]}',
  ties: 'base: base\nmerge: {method: ties, models: [a, b], parameters: {density: 0.4}}',
  dare_ties: 'base: base\nmerge: {method: dare_ties, models: [a, b], parameters: {density: 0.5}}',
  breadcrumbs: 'base: base\nmerge: {method: breadcrumbs, models: [a, b], parameters: {density: 0.6}}',
  model_stock: 'base: base\nmerge: {method: model_stock, models: [a, b]}',
  pcb: 'base: base\nmerge: {method: pcb, models: [a, b]}',
  iso_c: 'base: base\nmerge: {method: iso_c, models: [a, b]}',
  tsv_m: 'base: base\nmerge: {method: tsv_m, models: [a, b]}',
  filters: 'base: base\nfilters: {exclude: ["**.embed_tokens.*"]}\nmerge: {method: linear, models: [base, a]}',
  stack: 'steps:\n  tall: {stack: [{model: base, layers: [0, 1]}, {model: a, layers: [1, 2]}]}',
  extract: 'steps:\n  adapter: {extract: {lora: {from: a, base: base, rank: 2}}}',
  rebasin:
    'base: base\nsteps:\n  moved: {rebasin: {model: a, onto: base}}\n  mix: {merge: {method: linear, models: [base, moved]}}',
  zip: 'base: base\nzip: {models: [base, a]}',
  twice:
    'base: base\nsteps:\n  one: {merge: {method: linear, models: [base, a]}}\n  two: {merge: {method: task_arithmetic, models: [one, b]}}',
}

/** For the second network, one of each kind of reading. */
const SOME = ['linear', 'ties', 'iso_c', 'stack', 'extract', 'rebasin', 'zip']

for (const name of ['mixtral', 'phi3'])
  for (const [kind, merge] of Object.entries(MERGES).filter(([kind]) => name === 'mixtral' || SOME.includes(kind)))
    test(`${name}, ${kind}: fine-tunes in another layout than the base, bit-equal to one layout`, async () => {
      const [same, cross] = [
        await ran(`${models(name, 'one')}${merge}\noutput: OUT\n`),
        await ran(`${models(name, 'other')}${merge}\noutput: OUT\n`),
      ]
      assert.not.match(same.said, /other-layout/)
      assert.match(cross.said, /warning other-layout: the tensors of a and base have different layouts/)
      sameTensors(cross.tensors, same.tensors, kind)
    })

test.run()
