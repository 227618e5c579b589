/** Adapters of every kind, applied to their bases: what the libraries that trained them make of them. */
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { Fault, inspect, plan, run } from '../../src/index.js'
import { matrix, stored, writeAdapter } from '../support/adapters.js'
import { f32, inFolder, type RawTensor, writeModel } from '../support/files.js'
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

test('there is a set for each kind of adapter', () => assert.ok(sets.length >= 30, `${sets}`))

for (const set of sets)
  test(`${set}: the model is the one that PEFT makes`, () =>
    inFolder(async (folder) => {
      const made = await valuesOf(await apply(folder, set))
      const wanted = await valuesOf(path.join(FIXTURES, set, 'merged.safetensors'))
      assert.equal([...made.keys()].sort(), [...wanted.keys()].sort())
      // PEFT's singular vectors are in float32.
      const error = set === 'pissa-unconverted' ? 1e-5 : 1e-6
      for (const [name, values] of wanted) assert.ok(close(made.get(name), values, error), `${set}: ${name}`)
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

test('experts: alpha_pattern and rank_pattern match the names of parameters, not that of their module', () =>
  inFolder(async (folder) => {
    const set = 'moe-qwen3-fused'
    const settings = JSON.parse(readFileSync(path.join(FIXTURES, set, 'adapter_config.json'), 'utf8'))
    const plain = await valuesOf(await apply(path.join(folder, 'plain'), set))
    const patterns = { 'mlp.experts': 1000 * settings.lora_alpha, 'experts.down_proj': 3 * settings.lora_alpha }
    const made = await valuesOf(await apply(path.join(folder, 'other'), set, { adapter: { alpha_pattern: patterns } }))
    const base = await valuesOf(path.join(FIXTURES, set, 'base.safetensors'))
    const changed = [...made.keys()].filter(
      (name) => /down_proj/.test(name) && !close(plain.get(name), base.get(name)!),
    )
    assert.ok(changed.length > 0)
    for (const [name, values] of made) {
      const [before, once] = [base.get(name)!, plain.get(name)!]
      const times = changed.includes(name) ? 3 : 1
      assert.ok(
        close(
          values,
          Float64Array.from(once, (value, i) => before[i]! + times * (value - before[i]!)),
        ),
        name,
      )
    }
    assert.match(
      await refused(folder, set, { adapter: { rank_pattern: { 'experts.down_proj': settings.r + 1 } } }),
      /adapter-rank: .*down_proj has rank/,
    )
    assert.is(await refused(folder, set, { adapter: { rank_pattern: { 'mlp.experts': settings.r + 1 } } }), '')
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

test('weights of several tiles: the same bytes on any number of threads', () =>
  inFolder(async (folder) => {
    const P = 'base_model.model.'
    const shapes = { 'layers.0.up_proj': [701, 751], embed_tokens: [1100, 500] } as const
    let seed = 1
    const numbersOf = (...shape: number[]): RawTensor => stored(matrix(shape, seed++))
    const base: Record<string, RawTensor> = {}
    const adapter: Record<string, RawTensor> = {}
    for (const [module, [rows, columns]] of Object.entries(shapes)) {
      base[`${module}.weight`] = numbersOf(rows, columns)
      const embedding = module === 'embed_tokens'
      const [a, b] = embedding ? ['lora_embedding_A', 'lora_embedding_B'] : ['lora_A.weight', 'lora_B.weight']
      const [inputs, outputs] = embedding ? [rows, columns] : [columns, rows]
      adapter[`${P}${module}.${a}`] = numbersOf(5, inputs)
      adapter[`${P}${module}.${b}`] = numbersOf(outputs, 5)
      adapter[`${P}${module}.lora_magnitude_vector`] = numbersOf(outputs)
    }
    writeModel(path.join(folder, 'base.safetensors'), base)
    writeAdapter(path.join(folder, 'adapter'), adapter, { r: 5, lora_alpha: 5, use_dora: true })
    const loha: Record<string, RawTensor> = {}
    for (const part of ['hada_w1', 'hada_w2']) {
      loha[`${P}layers.0.up_proj.${part}_a`] = numbersOf(701, 4)
      loha[`${P}layers.0.up_proj.${part}_b`] = numbersOf(4, 751)
    }
    writeAdapter(path.join(folder, 'loha'), loha, { peft_type: 'LOHA', r: 4, alpha: 4 })
    // Blocks of one input have nothing to rotate.
    const oft = {
      [`${P}embed_tokens.oft_R.weight`]: numbersOf(25, 190),
      [`${P}layers.0.up_proj.oft_R.weight`]: numbersOf(751, 0),
    }
    const rotations = { r: 0, oft_block_size: 20, use_cayley_neumann: false, peft_version: '0.21.0' }
    writeAdapter(path.join(folder, 'oft'), oft, { peft_type: 'OFT', ...rotations })
    for (const lora of ['adapter', 'loha', 'oft']) {
      const made: Uint8Array[] = []
      for (const threads of [1, 3]) {
        const recipe = path.join(folder, 'r.yml')
        writeFileSync(
          recipe,
          `terge: 1\nmodels: {m: {path: base.safetensors, lora: ${lora}}}\nmerge: {method: passthrough}\noutput: out.safetensors\n`,
        )
        await run(await plan(recipe), { threads, sync: false, force: true })
        made.push(readFileSync(path.join(folder, 'out.safetensors')))
      }
      assert.ok(Buffer.compare(made[0]!, made[1]!) === 0, lora)
    }
  }))

const EXPERTS = 4
const [HIDDEN, INNER, RANK] = [8, 6, 2]
const MLP = 'model.layers.0.mlp'

interface Numbers {
  readonly shape: readonly number[]
  readonly values: Float32Array
}

/** Experts one by one, as transformers 4 stores them. */
function apart(fused: ReadonlyMap<string, Float32Array>): Map<string, Numbers> {
  const tensors = new Map<string, Numbers>()
  const [up, down] = [fused.get(`${MLP}.experts.gate_up_proj`)!, fused.get(`${MLP}.experts.down_proj`)!]
  const size = HIDDEN * INNER
  for (let e = 0; e < EXPERTS; e++) {
    const put = (name: string, shape: readonly number[], values: Float32Array, from: number) =>
      tensors.set(`${MLP}.experts.${e}.${name}.weight`, { shape, values: values.slice(from, from + size) })
    put('gate_proj', [INNER, HIDDEN], up, 2 * e * size)
    put('up_proj', [INNER, HIDDEN], up, (2 * e + 1) * size)
    put('down_proj', [HIDDEN, INNER], down, e * size)
  }
  return tensors
}

const written = (tensors: ReadonlyMap<string, Numbers>): Record<string, RawTensor> =>
  Object.fromEntries([...tensors].map(([name, { shape, values }]) => [name, f32(shape, values)]))

test('experts in one tensor meet experts one by one, in both directions', () =>
  inFolder(async (folder) => {
    const from = path.join(FIXTURES, 'moe-qwen3-fused')
    const fused = await valuesOf(path.join(from, 'base.safetensors'))
    const wanted = await valuesOf(path.join(from, 'merged.safetensors'))
    const adapter = await valuesOf(path.join(from, 'adapter_model.safetensors'))
    const settings = JSON.parse(readFileSync(path.join(from, 'adapter_config.json'), 'utf8'))
    const config = readFileSync(path.join(from, 'base-config.json'), 'utf8')
    for (const name of ['base', 'single', 'one', 'all']) mkdirSync(path.join(folder, name))
    for (const name of ['base', 'single']) writeFileSync(path.join(folder, name, 'config.json'), config)
    copyFileSync(path.join(from, 'base.safetensors'), path.join(folder, 'base/model.safetensors'))
    writeModel(path.join(folder, 'single/model.safetensors'), written(apart(fused)))
    // Only the experts: the other weights are not in the model with experts one by one.
    const factors = [...adapter.keys()].filter((name) => name.includes('.experts.'))
    const sides = (name: string) => ({
      a: adapter.get(`${name}.lora_A.weight`)!,
      b: adapter.get(`${name}.lora_B.weight`)!,
    })
    const P = 'base_model.model.'
    const [up, down] = [sides(`${P}${MLP}.experts.base_layer`), sides(`${P}${MLP}.experts`)]
    const [all, one] = [new Map<string, Numbers>(), new Map<string, Numbers>()]
    for (const name of factors) {
      const values = adapter.get(name)!
      const shape = name.endsWith('A.weight')
        ? [RANK * EXPERTS, values.length / RANK / EXPERTS]
        : [values.length / RANK / EXPERTS, RANK * EXPERTS]
      all.set(name, { shape, values })
    }
    for (let e = 0; e < EXPERTS; e++) {
      const put = (part: string, { a, b }: { a: Float32Array; b: Float32Array }, first: number, rows: number) => {
        const columns = a.length / RANK / EXPERTS
        const own = Float32Array.from({ length: rows * RANK }, (_, i) => {
          const [row, k] = [Math.floor(i / RANK), i % RANK]
          return b[(first + row) * RANK * EXPERTS + k * EXPERTS + e]!
        })
        const name = `${P}${MLP}.experts.${e}.${part}`
        one.set(`${name}.lora_A.weight`, {
          shape: [RANK, columns],
          values: a.slice(e * RANK * columns, (e + 1) * RANK * columns),
        })
        one.set(`${name}.lora_B.weight`, { shape: [rows, RANK], values: own })
      }
      put('gate_proj', up, 0, INNER)
      put('up_proj', up, INNER, INNER)
      put('down_proj', down, 0, HIDDEN)
    }
    const { target_parameters: _, ...plain } = settings
    writeAdapter(path.join(folder, 'all'), written(all), settings)
    writeAdapter(path.join(folder, 'one'), written(one), plain)
    const made = async (base: string, lora: string): Promise<Map<string, Float32Array>> => {
      const recipe = path.join(folder, 'r.yml')
      const models = `models: {m: {path: ${base}, lora: ${lora}}}`
      writeFileSync(recipe, `terge: 1\n${models}\nmerge: {method: passthrough}\noutput: out\n`)
      await run(await plan(recipe), { threads: 1, sync: false, force: true })
      return valuesOf(path.join(folder, 'out/model.safetensors'))
    }
    for (const lora of ['all', 'one']) {
      const single = await made('single', lora)
      for (const [name, { values }] of apart(wanted)) assert.ok(close(single.get(name), values), `${lora}: ${name}`)
      const whole = await made('base', lora)
      for (const part of ['gate_up_proj', 'down_proj']) {
        const name = `${MLP}.experts.${part}`
        assert.ok(close(whole.get(name), wanted.get(name)!), `${lora}: ${name}`)
      }
    }
  }))

test.run()
