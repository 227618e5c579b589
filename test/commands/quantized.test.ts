/** Models that real libraries quantized, as inputs of runs: their values, and that every step computes with them. */
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type PackedConfig, packedNumbers } from '../reference/packed.js'
import { inFolder, tensorsOf, writeModel } from '../support/files.js'
import { floatsOf, kindsOf, PACKED, packedModels, unquantized, wantedOf } from '../support/quantized.js'
import { terge } from '../support/terge.js'
import { jsonOf, writeFolder } from './families.js'

const run = (folder: string, text: string, ...flags: string[]) => {
  writeFileSync(path.join(folder, 'r.yaml'), `terge: 1\n${text}\n`)
  return terge(['run', 'r.yaml', '--no-sync', ...flags], folder)
}

/** The distance of two float32 numbers in units of the last place. */
function ulps(a: number, b: number): number {
  if (Object.is(a, b) || a === b) return 0
  const exponent = Math.max(-126, Math.floor(Math.log2(Math.abs(b))))
  return Math.abs(a - b) / 2 ** (exponent - 23)
}

/** How a model is quantized: most configurations say it, others are in a file of their own. */
const settingsOf = (model: string): PackedConfig => {
  const { quantization_config } = jsonOf(path.join(PACKED, model), 'config.json')
  return quantization_config ?? {}
}

for (const model of packedModels())
  test(`${model}: numbers are what the library says that they are`, () =>
    inFolder(async (folder) => {
      const text = `models: {p: ${path.join(PACKED, model)}}\nmerge: {method: passthrough}\noutput: {path: out, dtype: float32}`
      const { code, err } = await run(folder, text)
      assert.is(code, 0, err)
      const made = tensorsOf(path.join(folder, 'out'))
      const kinds = kindsOf(model)
      const stored = tensorsOf(path.join(PACKED, model))
      const settings = settingsOf(model)
      for (const [name, wanted] of Object.entries(wantedOf(model))) {
        assert.equal([made[name]?.dtype, made[name]?.shape], ['F32', wanted.shape], name)
        const [got, want] = [floatsOf(made[name]!), floatsOf(wanted)]
        const most = kinds[name]![0] === 'exact' ? 0 : 2
        const wrong = got.findIndex((value, index) => ulps(value, want[index]!) > most)
        assert.is(wrong, -1, `${name}[${wrong}] is ${got[wrong]}, not ${want[wrong]}`)
        const reference = packedNumbers(stored, settings, name, wanted.shape)
        const other = got.findIndex((value, index) => !Object.is(value, reference[index]))
        assert.is(other, -1, `${name}[${other}] is ${got[other]}, and the reference ${reference[other]}`)
      }
      // Nothing of the quantized model is left.
      assert.equal(Object.keys(made).sort(), Object.keys(unquantized(model)).sort())
      const config = jsonOf(path.join(folder, 'out'), 'config.json')
      assert.is(JSON.stringify(config).includes('quant'), false)
      for (const name of ['hf_quant_config.json', 'quantize_config.json'])
        assert.not.ok(existsSync(path.join(folder, 'out', name)), name)
    }))

/** Formats whose numbers float32 holds exactly: a model of these numbers must give the same results. */
const EXACT = ['fp8-block-bf16', 'awq']

/** Recipes over p and q, which have the same tensors; b is another model. */
const RECIPES: Readonly<Record<string, string>> = {
  linear: 'merge: {method: linear, models: [p, b]}',
  'linear in float64': 'compute: float64\nmerge: {method: linear, models: [p, b]}',
  'linear onto it': 'base: p\nmerge: {method: linear, models: [p, b]}',
  ties: 'base: b\nmerge: {method: ties, models: [p, c], parameters: {density: 0.6}}',
  dare_ties: 'seed: 3\nbase: b\nmerge: {method: dare_ties, models: [p, c], parameters: {density: 0.5}}',
  iso_c: 'base: b\nmerge: {method: iso_c, models: [p, c]}',
  della: 'seed: 3\nbase: p\nmerge: {method: della, models: [b, c], parameters: {density: 0.5, epsilon: 0.1}}',
}

for (const model of EXACT)
  test(`${model}: methods give what they give for the same numbers in float32`, () =>
    inFolder(async (folder) => {
      const plain = unquantized(model)
      const { quantization_config: _, ...config } = jsonOf(path.join(PACKED, model), 'config.json')
      const files = { 'config.json': config }
      for (const name of ['q', 'b', 'c']) {
        const change = { q: 0, b: 0.25, c: -0.5 }[name]!
        const tensors = Object.fromEntries(
          Object.entries(plain).map(([key, tensor]) => {
            if (tensor.dtype !== 'F32') return [key, tensor]
            const values = floatsOf(tensor).map((value, i) => value * (1 + change * Math.sin(i)))
            return [key, { ...tensor, bytes: new Uint8Array(values.buffer) }]
          }),
        )
        writeFolder(path.join(folder, name), files)
        writeModel(path.join(folder, name, 'model.safetensors'), tensors)
      }
      for (const [what, recipe] of Object.entries(RECIPES)) {
        const made = []
        for (const from of [path.join(PACKED, model), './q']) {
          const text = `models: {p: ${from}, b: ./b, c: ./c}\n${recipe}\noutput: {path: out, dtype: float32}`
          const { code, err } = await run(folder, text)
          assert.is(code, 0, `${what}: ${err}`)
          made.push(readFileSync(path.join(folder, 'out/model.safetensors')))
          rmSync(path.join(folder, 'out'), { recursive: true })
        }
        assert.ok(made[0]!.equals(made[1]!), what)
      }
    }))

test.run()
