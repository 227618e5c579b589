/** Adapters of every kind, applied to their bases: what the libraries that trained them make of them. */
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { Fault, inspect, plan, run } from '../../src/index.js'
import { inFolder } from '../support/files.js'
import { close } from '../support/peft.js'

const FIXTURES = fileURLToPath(new URL('../../../test/fixtures/adapters', import.meta.url))

/** By name, the float32 elements of a file. */
async function valuesOf(file: string): Promise<Map<string, Float32Array>> {
  const { stored, files } = await inspect(file)
  const content = readFileSync(files[0]!.path)
  return new Map(
    [...stored].map(([name, { offset, bytes }]) => [
      name,
      new Float32Array(Uint8Array.from(content.subarray(offset, offset + bytes)).buffer),
    ]),
  )
}

/** Applies a set's adapter to its base: the files in `folder`, with the base's configuration changed by `amend`. */
async function apply(folder: string, set: string, { more = '', amend = {}, adapter = {} } = {}): Promise<string> {
  const from = path.join(FIXTURES, set)
  mkdirSync(path.join(folder, 'base'), { recursive: true })
  mkdirSync(path.join(folder, 'adapter'), { recursive: true })
  copyFileSync(path.join(from, 'base.safetensors'), path.join(folder, 'base/model.safetensors'))
  const config = path.join(from, 'base-config.json')
  const text = existsSync(config) ? JSON.parse(readFileSync(config, 'utf8')) : {}
  writeFileSync(path.join(folder, 'base/config.json'), JSON.stringify({ ...text, ...amend }))
  copyFileSync(path.join(from, 'adapter_model.safetensors'), path.join(folder, 'adapter/adapter_model.safetensors'))
  const settings = JSON.parse(readFileSync(path.join(from, 'adapter_config.json'), 'utf8'))
  writeFileSync(path.join(folder, 'adapter/adapter_config.json'), JSON.stringify({ ...settings, ...adapter }))
  const recipe = path.join(folder, 'r.yml')
  writeFileSync(
    recipe,
    `terge: 1\nmodels: {m: {path: base, lora: adapter${more}}}\nmerge: {method: passthrough}\noutput: out\n`,
  )
  await run(await plan(recipe), { threads: 1, sync: false, force: true })
  return path.join(folder, 'out/model.safetensors')
}

const sets = readdirSync(FIXTURES).filter((name) => existsSync(path.join(FIXTURES, name, 'adapter_config.json')))

test('there is a set for each kind of adapter', () => assert.ok(sets.length >= 21, `${sets}`))

for (const set of sets)
  test(`${set}: the model is the one that PEFT makes`, () =>
    inFolder(async (folder) => {
      const made = await valuesOf(await apply(folder, set))
      const wanted = await valuesOf(path.join(FIXTURES, set, 'merged.safetensors'))
      assert.equal([...made.keys()].sort(), [...wanted.keys()].sort())
      for (const [name, values] of wanted) assert.ok(close(made.get(name), values), `${set}: ${name}`)
    }))

const refused = async (...given: Parameters<typeof apply>): Promise<string> => {
  try {
    await apply(...given)
  } catch (error) {
    if (error instanceof Fault) return error.diagnostics.map(({ code, message }) => `${code}: ${message}`).join('\n')
    throw error
  }
  return ''
}

test('square experts are refused if neither the version of PEFT nor the architecture shows their layout', () =>
  inFolder(async (folder) => {
    const set = 'moe-qwen3-square-fused'
    const unknown = /adapter-experts: .*down_proj is square, and nothing shows which of its factors/
    for (const version of ['0.18.2.dev0', undefined, 'main'])
      assert.match(await refused(folder, set, { adapter: { peft_version: version } }), unknown)
    assert.match(await refused(folder, set, { amend: { model_type: undefined, text_config: undefined } }), unknown)
  }))

test('DoRA: lora_scale applies to the update before it is normalised', () =>
  inFolder(async (folder) => {
    const set = 'dora-linear'
    const name = 'model.layers.0.self_attn.v_proj'
    const made = (await valuesOf(await apply(folder, set, { more: ', lora_scale: 0.25' }))).get(`${name}.weight`)!
    const base = (await valuesOf(path.join(FIXTURES, set, 'base.safetensors'))).get(`${name}.weight`)!
    const adapter = await valuesOf(path.join(FIXTURES, set, 'adapter_model.safetensors'))
    const part = (role: string) => adapter.get(`base_model.model.${name}.${role}`)!
    const [a, b, m] = [part('lora_A.weight'), part('lora_B.weight'), part('lora_magnitude_vector')]
    const [rows, columns, rank] = [4, 12, 3]
    const wanted = new Float64Array(rows * columns)
    for (let i = 0; i < rows; i++) {
      for (let j = 0; j < columns; j++) {
        let sum = 0
        for (let k = 0; k < rank; k++) sum += b[i * rank + k]! * a[k * columns + j]!
        wanted[i * columns + j] = base[i * columns + j]! + 0.25 * (5 / 3) * sum
      }
      const row = wanted.subarray(i * columns, (i + 1) * columns)
      const norm = Math.hypot(...row)
      for (let j = 0; j < columns; j++) row[j] = (row[j]! * m[i]!) / norm
    }
    assert.ok(close(made, wanted))
  }))

test.run()
