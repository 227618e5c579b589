/** Adapters applied to models: against plain loops in float64, and against models to which they were applied beforehand. */
import { createHash } from 'node:crypto'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { inspect, type Lineage, plan, run, verify } from '../../src/index.js'
import { dict, pickle, storage, tensor, zip } from '../checkpoints/pytorchFiles.js'
import { matrix, merged, stored, writeAdapter } from '../support/adapters.js'
import { f32, inFolder, numbers, type RawTensor, writeModel } from '../support/files.js'
import { terge } from '../support/terge.js'

async function valuesOf(file: string): Promise<Map<string, Float32Array>> {
  const { stored: tensors, files } = await inspect(file)
  const content = readFileSync(files[0]!.path)
  return new Map(
    [...tensors].map(([name, { offset, bytes }]) => [
      name,
      new Float32Array(content.buffer.slice(content.byteOffset + offset, content.byteOffset + offset + bytes)),
    ]),
  )
}

/** One of every kind of module, by its name: what the base holds, what the adapter adds, what must come out. */
function everyKind() {
  const base: Record<string, RawTensor> = {}
  const adapter: Record<string, RawTensor> = {}
  const expected = new Map<string, Float64Array>()
  const P = 'base_model.model.'
  let seed = 1
  const weight = (name: string, shape: readonly number[]) => {
    const made = matrix(shape, seed++)
    base[name] = stored(made)
    expected.set(name, Float64Array.from(made.values))
    return made
  }
  const factors = (
    module: string,
    w: ReturnType<typeof matrix>,
    rank: number,
    scale: number,
    {
      a,
      b,
      turned = false,
      infix = '',
    }: { a: readonly number[]; b: readonly number[]; turned?: boolean; infix?: string },
  ) => {
    const [down, up] = [matrix([rank, ...a], seed++, true), matrix([b[0]!, rank, ...b.slice(1)], seed++)]
    adapter[`${P}${module}.lora_A.${infix}weight`] = stored(down, 'BF16')
    adapter[`${P}${module}.lora_B.${infix}weight`] = stored(up)
    expected.set(`${module}.weight`, merged(w, down, up, scale, turned))
  }
  const linear = weight('model.layers.0.q_proj.weight', [37, 53])
  factors('model.layers.0.q_proj', linear, 5, 2 * 0.5, { a: [53], b: [37] })
  // Two tiles and a bit, rows that end within chunks and panels.
  const large = weight('model.layers.0.up_proj.weight', [701, 751])
  factors('model.layers.0.up_proj', large, 5, 2 * 0.5, { a: [751], b: [701], infix: 'default.' })
  // rank_pattern and alpha_pattern, each by the end of a name.
  const other = weight('model.layers.1.up_proj.weight', [9, 16])
  factors('model.layers.1.up_proj', other, 3, (7 / 3) * 0.5, { a: [16], b: [9] })
  const wide = weight('model.layers.1.down_proj.weight', [2, 70000])
  factors('model.layers.1.down_proj', wide, 5, 2 * 0.5, { a: [70000], b: [2] })
  // As GPT-2 has it; the shape tells.
  const turned = weight('h.0.c_attn.weight', [24, 72])
  factors('h.0.c_attn', turned, 5, 2 * 0.5, { a: [24], b: [72], turned: true })
  const conv = weight('conv.weight', [8, 6, 3, 3])
  factors('conv', conv, 5, 2 * 0.5, { a: [6, 3, 3], b: [8, 1, 1] })
  const small = weight('conv1.weight', [8, 6, 1, 1])
  factors('conv1', small, 5, 2 * 0.5, { a: [6, 1, 1], b: [8, 1, 1] })
  const embedding = weight('embed.weight', [130, 24])
  const [down, up] = [matrix([5, 130], seed++), matrix([24, 5], seed++)]
  adapter[`${P}embed.lora_embedding_A`] = stored(down)
  adapter[`${P}embed.lora_embedding_B`] = stored(up)
  expected.set('embed.weight', merged(embedding, down, up, 1, true))
  const bias = weight('model.layers.0.q_proj.bias', [37])
  const added = matrix([37], seed++)
  adapter[`${P}model.layers.0.q_proj.lora_B.bias`] = stored(added)
  expected.set(
    'model.layers.0.q_proj.bias',
    Float64Array.from(bias.values, (x, i) => x + added.values[i]!),
  )
  const replaced = (name: string, as: string, shape: readonly number[]) => {
    weight(name, shape)
    const saved = matrix(shape, seed++)
    adapter[`${P}${as}`] = stored(saved)
    expected.set(name, Float64Array.from(saved.values))
  }
  replaced('score.weight', 'score.modules_to_save.default.weight', [3, 37])
  replaced('norm.bias', 'norm.base_layer.bias', [16])
  weight('untouched.weight', [5, 7])
  const config = {
    ...{ r: 5, lora_alpha: 10, rank_pattern: { 'layers.1.up_proj': 3 }, alpha_pattern: { 'up_.roj|nothing': 10 } },
    target_modules: 'all-linear',
  }
  // The first that matches counts: of layer 1 an alpha of its own.
  return {
    base,
    adapter,
    expected,
    config: { ...config, alpha_pattern: { '1\\.up_proj': 7, ...config.alpha_pattern } },
  }
}

function writeEvery(folder: string): ReturnType<typeof everyKind> {
  const made = everyKind()
  writeModel(path.join(folder, 'base.safetensors'), made.base)
  writeAdapter(path.join(folder, 'adapter'), made.adapter, made.config)
  writeFileSync(
    path.join(folder, 'r.yml'),
    'terge: 1\nmodels: {tuned: {path: base.safetensors, lora: adapter, lora_scale: 0.5}}\nmerge: {method: passthrough}\noutput: out.safetensors\n',
  )
  return made
}

function compare(got: ReadonlyMap<string, Float32Array>, expected: ReadonlyMap<string, Float64Array>): void {
  assert.equal([...got.keys()].sort(), [...expected.keys()].sort())
  for (const [name, values] of expected) {
    const largest = values.reduce((most, x) => Math.max(most, Math.abs(x)), 0)
    const worst = values.reduce((most, x, i) => Math.max(most, Math.abs(x - got.get(name)![i]!)), 0)
    assert.ok(worst <= 1e-6 * largest, `${name}: off by ${worst} of ${largest}`)
  }
}

test('every kind of module is what PEFT makes of it; lora_scale is for updates, not for what was saved whole', () =>
  inFolder(async (folder) => {
    const { expected } = writeEvery(folder)
    // Biases of B are scaled with their module.
    const ran = await terge(['run', 'r.yml'], folder)
    assert.is(ran.code, 0, ran.err)
    assert.match(ran.err, /warning lora-scale: tuned\.lora: lora_scale does not apply to the 2 tensors/)
    compare(await valuesOf(path.join(folder, 'out.safetensors')), expected)
    const lineage: Lineage = JSON.parse(readFileSync(path.join(folder, 'out.lineage.json'), 'utf8'))
    const { sources } = lineage.tensors['model.layers.1.up_proj.weight']!
    assert.equal(sources[0]!.of?.method, 'lora')
    assert.equal(sources[0]!.of?.parameters, { rank: 3, scale: (0.5 * 7) / 3 })
    assert.equal(
      sources[0]!.of?.sources.map(({ model, tensor }) => `${model} ${tensor}`),
      [
        'tuned model.layers.1.up_proj.weight',
        'tuned.lora base_model.model.model.layers.1.up_proj.lora_B.weight',
        'tuned.lora base_model.model.model.layers.1.up_proj.lora_A.weight',
      ],
    )
    assert.is(lineage.tensors['score.weight']!.sources[0]!.of!.sources[0]!.model, 'tuned.lora')
    assert.equal(lineage.models['tuned.lora']!.reference, 'adapter')
    const verified = await terge(['verify', 'out.lineage.json', '--reproduce'], folder)
    assert.is(verified.code, 0, verified.err + verified.out)
    const planned = await terge(['plan', 'r.yml'], folder)
    assert.match(planned.out, /tuned\.lora: adapter/)
    assert.match(planned.out, /passthrough\(lora\): 9/)
  }))

test('use_rslora divides by the root of the rank; a scale that is huge or negative is a scale', () =>
  inFolder(async (folder) => {
    const [w, a, b] = [matrix([40, 30], 1), matrix([9, 30], 2), matrix([40, 9], 3)]
    writeModel(path.join(folder, 'base.safetensors'), { 'q.weight': stored(w) })
    const tensors = { 'base_model.model.q.lora_A.weight': stored(a), 'base_model.model.q.lora_B.weight': stored(b) }
    writeAdapter(path.join(folder, 'adapter'), tensors, { r: 9, lora_alpha: -4.5e3, use_rslora: true })
    const recipe = `terge: 1\nmodels: {m: {path: base.safetensors, lora: adapter}}\nmerge: {method: passthrough}\noutput: {path: o.safetensors}\n`
    writeFileSync(path.join(folder, 'r.yml'), recipe)
    for (const compute of ['float32', 'float64']) {
      const text = `${recipe}compute: ${compute}\n`
      await run(await plan(path.join(folder, 'r.yml'), { text }), { threads: 1, sync: false, force: true })
      compare(await valuesOf(path.join(folder, 'o.safetensors')), new Map([['q.weight', merged(w, a, b, -1500)]]))
    }
  }))

test('factors that are too large to be held whole are taken in blocks of columns', () =>
  inFolder(async (folder) => {
    const [w, a, b] = [matrix([6, 10007], 1), matrix([330, 10007], 2), matrix([6, 330], 3)]
    writeModel(path.join(folder, 'base.safetensors'), { 'q.weight': stored(w) })
    const tensors = { 'base_model.model.q.lora_A.weight': stored(a), 'base_model.model.q.lora_B.weight': stored(b) }
    writeAdapter(path.join(folder, 'adapter'), tensors, { r: 330, lora_alpha: 33 })
    const text =
      'terge: 1\nmodels: {m: {path: base.safetensors, lora: adapter}}\nmerge: {method: passthrough}\ncompute: float64\noutput: o.safetensors\n'
    const prepared = await plan(path.join(folder, 'r.yml'), { text })
    await run(prepared, { threads: 2, sync: false })
    compare(await valuesOf(path.join(folder, 'o.safetensors')), new Map([['q.weight', merged(w, a, b, 0.1)]]))
  }))

test('the same bytes whatever the threads, the memory, and the way of reading', () =>
  inFolder(async (folder) => {
    writeEvery(folder)
    const bytes = async (more: readonly string[], env: NodeJS.ProcessEnv = {}) => {
      const ran = await terge(['run', 'r.yml', '-o', 'out.safetensors', '--force', '--no-sync', ...more], folder, env)
      assert.is(ran.code, 0, ran.err)
      return readFileSync(path.join(folder, 'out.safetensors'))
    }
    const first = await bytes(['--threads', '1'])
    assert.ok(first.equals(await bytes(['--threads', '2'])))
    assert.ok(first.equals(await bytes(['--threads', '2', '--memory', '70MB'])))
    assert.ok(first.equals(await bytes(['--threads', '2'], { TERGE_IO: 'map' })))
  }))

test('no update leaves every bit: B of zeros, lora_scale: 0; NaN of a factor reaches its row', () =>
  inFolder(async (folder) => {
    const values = numbers(40 * 24, 1)
    values.set([-0, 0, Number.NaN, Number.POSITIVE_INFINITY, -0])
    writeModel(path.join(folder, 'base.safetensors'), { 'q.weight': f32([40, 24], values) })
    const P = 'base_model.model.q.lora_'
    const a = f32([4, 24], numbers(96, 2))
    const nan = numbers(160, 3)
    nan[4 * 7] = Number.NaN
    writeAdapter(
      path.join(folder, 'zero'),
      { [`${P}A.weight`]: a, [`${P}B.weight`]: f32([40, 4], new Float32Array(160)) },
      { r: 4 },
    )
    writeAdapter(path.join(folder, 'nan'), { [`${P}A.weight`]: a, [`${P}B.weight`]: f32([40, 4], nan) }, { r: 4 })
    const made = async (model: string) => {
      const file = path.join(folder, 'r.yml')
      writeFileSync(
        file,
        `terge: 1\nmodels: {m: ${model}, n: base.safetensors}\nmerge: {method: linear, models: [m]}\noutput: o.safetensors\n`,
      )
      const text = readFileSync(file, 'utf8').replace(
        'merge: {method: linear, models: [m]}',
        'merge: {method: passthrough, models: [m]}',
      )
      await run(await plan(file, { text }), { threads: 1, sync: false, force: true })
      return new Uint8Array((await valuesOf(path.join(folder, 'o.safetensors'))).get('q.weight')!.buffer)
    }
    const plain = await made('base.safetensors')
    assert.equal(await made('{path: base.safetensors, lora: zero}'), plain)
    assert.equal(await made('{path: base.safetensors, lora: nan, lora_scale: 0}'), plain)
    const spoilt = new Float32Array((await made('{path: base.safetensors, lora: nan}')).buffer)
    assert.equal(
      [...spoilt].flatMap((x, i) => (i >= 24 && Number.isNaN(x) ? [Math.floor(i / 24)] : [])),
      Array(24).fill(7),
    )
  }))

/** Recipes over two models in float32: `x` with an adapter, or what came out of applying that. */
const LAWS: Readonly<Record<string, string>> = {
  linear: 'base: o\nmerge: {method: linear, models: [o, x], weights: [1, 3]}',
  'several with adapters': 'base: o\nmerge: {method: ties, models: [x, y], parameters: {density: 0.4}}',
  slerp: 'merge: {method: slerp, models: [o, x], parameters: {t: 0.3}}',
  'by rows': 'base: o\nmerge: {method: della, models: [x, y], parameters: {density: 0.5}}',
  'rows of nuslerp': 'merge: {method: nuslerp, models: [x, o], parameters: {flatten: false}}',
  'whole matrices': 'base: o\nmerge: {method: tsv_m, models: [x, y]}',
  'over the model': 'base: o\nmerge: {method: metagpt, models: [x, y]}',
  'as base': 'base: x\nmerge: {method: task_arithmetic, models: [o, y]}',
  aligned: 'rebasin: [{model: x, onto: o, spec: chain}]\nmerge: {method: linear, models: [o, x]}',
  'aligned onto it': 'rebasin: [{model: o, onto: x, spec: chain}]\nmerge: {method: linear, models: [x, o]}',
  'fused steps': `steps:
  s: {merge: {method: linear, models: [x, y]}}
  t: {merge: {method: slerp, models: [s, o], parameters: {t: 0.5}}}`,
  renamed: 'base: o\nmerge: {method: linear, models: [o, r]}',
}

test('an adapter that is applied while it is read gives the bytes of one that was applied beforehand', () =>
  inFolder(async (folder) => {
    const shapes: Record<string, number[]> = {
      'fc1.weight': [96, 64], 'fc1.bias': [96], 'fc2.weight': [40, 96], 'fc2.bias': [40], 'fc3.weight': [10, 40], 'fc3.bias': [10],
    } // biome-ignore format: a line
    const model = (seed: number) =>
      Object.fromEntries(Object.entries(shapes).map(([name, shape], i) => [name, stored(matrix(shape, seed + i))]))
    for (const [name, seed] of [
      ['o', 1],
      ['b', 20],
    ] as const)
      writeModel(path.join(folder, `${name}.safetensors`), model(seed))
    for (const [name, seed] of [
      ['one', 40],
      ['two', 60],
    ] as const) {
      const tensors = Object.entries(shapes).flatMap(([weight, [rows, columns]], i) =>
        weight.endsWith('.bias')
          ? []
          : [
              [
                `base_model.model.${weight.slice(0, -7)}.lora_A.weight`,
                stored(matrix([4, columns!], seed + 2 * i)),
              ] as const,
              [
                `base_model.model.${weight.slice(0, -7)}.lora_B.weight`,
                stored(matrix([rows!, 4], seed + 2 * i + 1)),
              ] as const,
            ],
      )
      writeAdapter(path.join(folder, name), Object.fromEntries(tensors), { r: 4, lora_alpha: 3 })
    }
    const renamed = 'strip_prefix: fc, rename: [{from: "/^/", to: fc}]'
    const models = {
      ...{ x: '{path: b.safetensors, lora: one, lora_scale: 0.7}', y: '{path: b.safetensors, lora: two}' },
      r: `{path: b.safetensors, lora: one, lora_scale: 0.7, ${renamed}}`,
    }
    const file = path.join(folder, 'r.yml')
    writeFileSync(file, '')
    const bytes = async (text: string) => {
      const prepared = await plan(file, { text: `terge: 1\n${text}\noutput: out.safetensors\n` })
      await run(prepared, { threads: 2, sync: false, force: true })
      return readFileSync(path.join(folder, 'out.safetensors'))
    }
    for (const [name, adapted] of Object.entries(models))
      writeFileSync(
        path.join(folder, `${name}.safetensors`),
        await bytes(`models: {m: ${adapted}}\nmerge: {method: passthrough}`),
      )
    for (const [what, rest] of Object.entries(LAWS)) {
      const used = (list: Readonly<Record<string, string>>) =>
        `models: {${['o', ...Object.keys(models)]
          .filter((name) => new RegExp(`\\b${name}\\b`).test(rest))
          .map((name) => `${name}: ${list[name] ?? `${name}.safetensors`}`)
          .join(', ')}}\n${rest}`
      const direct = await bytes(used(models))
      assert.ok(direct.equals(await bytes(used({}))), what)
    }
    const diff = await terge(['diff', 'x.safetensors', 'r.safetensors', '--exit-code'], folder)
    assert.is(diff.code, 0, diff.out)
  }))

test('a lock pins the adapter and its configuration', () =>
  inFolder(async (folder) => {
    writeEvery(folder)
    assert.is((await terge(['lock', 'r.yml'], folder)).code, 0)
    const locked = ['run', 'r.yml', '--locked', '-o', 'out.safetensors', '--force']
    assert.is((await terge(locked, folder)).code, 0)
    const config = path.join(folder, 'adapter/adapter_config.json')
    writeFileSync(config, readFileSync(config, 'utf8').replace('"lora_alpha":10', '"lora_alpha":11'))
    const ran = await terge(locked, folder)
    assert.is(ran.code, 2)
    assert.match(ran.err, /tuned\.lora: adapter_config\.json/)
  }))

test('the lineage holds an adapter’s configuration, and verify finds it changed; a report knows no adapters', () =>
  inFolder(async (folder) => {
    writeEvery(folder)
    const written = readFileSync(path.join(folder, 'r.yml'), 'utf8')
    const config = path.join(folder, 'adapter/adapter_config.json')
    const text = readFileSync(config, 'utf8')
    for (const lora of ['adapter', 'adapter/adapter_model.safetensors']) {
      writeFileSync(path.join(folder, 'r.yml'), written.replace('lora: adapter', `lora: ${lora}`))
      assert.is((await terge(['run', 'r.yml', '-o', 'out.safetensors', '--force', '--sha256'], folder)).code, 0)
      const lineage: Lineage = JSON.parse(readFileSync(path.join(folder, 'out.lineage.json'), 'utf8'))
      const files = lineage.models['tuned.lora']!.files
      assert.equal(
        files.map(({ name }) => name),
        ['adapter_model.safetensors', 'adapter_config.json'],
      )
      const sum = createHash('sha256').update(text).digest('hex')
      assert.equal([files[1]!.size, files[1]!.sha256], [text.length, `sha256:${sum}`])
      const check = ['verify', 'out.lineage.json']
      assert.is((await terge(check, folder)).code, 0)
      writeFileSync(config, text.replace('"lora_alpha":10', '"lora_alpha":11'))
      const changed = await terge(check, folder)
      assert.is(changed.code, 1)
      assert.match(
        changed.err + changed.out,
        /input-digest: tuned\.lora .*adapter_config\.json differs from the recorded file/,
      )
      writeFileSync(config, text)
      assert.is((await terge(['lock', 'r.yml'], folder)).code, 0)
      const locked = await terge(['run', 'r.yml', '-o', 'out.safetensors', '--force', '--locked'], folder)
      assert.is(locked.code, 0, locked.err)
    }
    const recipe = `terge: 1\nmodels: {base: base.safetensors, tuned: {path: base.safetensors, lora: adapter}}\nmerge: {method: linear}\noutput: mean.safetensors\n`
    writeFileSync(path.join(folder, 'mean.yml'), recipe)
    const ran = await terge(['run', 'mean.yml'], folder)
    assert.is(ran.code, 0, ran.err)
    const { out } = await terge(['report', 'mean.lineage.json', '--format', 'terge'], folder)
    for (const [name, entry] of Object.entries(JSON.parse(out)))
      assert.equal(
        entry,
        [
          'arithmetic',
          [
            [0, 0.5],
            [1, 0.5],
          ],
        ],
        name,
      )
  }))

test('an adapter of PyTorch: factors that are views of other tensors, and a model that is one', () =>
  inFolder(async (folder) => {
    const [w, a, b] = [matrix([40, 30], 1), matrix([4, 30], 2), matrix([40, 4], 3)]
    /** A state dict in which every matrix is stored transposed. */
    const state = (tensors: Readonly<Record<string, ReturnType<typeof matrix>>>) => {
      const entries = Object.entries(tensors)
      const data = entries.map(([, { shape, values }]) => {
        const [rows, columns] = shape as [number, number]
        const turned = Float32Array.from(values, (_, i) => values[(i % rows) * columns + Math.floor(i / rows)]!)
        return new Uint8Array(turned.buffer)
      })
      const described = entries.map(([name, { shape, values }], key) => [
        name,
        tensor({ storage: storage({ key: String(key), length: values.length }), shape, strides: [1, shape[0]!] }),
      ])
      return zip([
        { name: 'm/data.pkl', data: pickle(dict(Object.fromEntries(described))) },
        ...data.map((bytes, key) => ({ name: `m/data/${key}`, data: bytes })),
      ])
    }
    writeFileSync(path.join(folder, 'base.bin'), state({ 'q.weight': w }))
    mkdirSync(path.join(folder, 'adapter'))
    writeFileSync(
      path.join(folder, 'adapter/adapter_model.bin'),
      state({ 'base_model.model.q.lora_A.weight': a, 'base_model.model.q.lora_B.weight': b }),
    )
    writeFileSync(path.join(folder, 'adapter/adapter_config.json'), '{"r": 4, "lora_alpha": 2}')
    writeFileSync(
      path.join(folder, 'r.yml'),
      'terge: 1\nmodels: {m: {path: base.bin, lora: adapter}}\nmerge: {method: passthrough}\noutput: o.safetensors\n',
    )
    for (const env of [{}, { TERGE_IO: 'map' }]) {
      const ran = await terge(['run', 'r.yml', '--force', '--no-sync'], folder, env)
      assert.is(ran.code, 0, ran.err)
      compare(await valuesOf(path.join(folder, 'o.safetensors')), new Map([['q.weight', merged(w, a, b, 0.5)]]))
    }
    assert.is((await terge(['verify', 'o.lineage.json', '--reproduce'], folder)).code, 0)
  }))

test('mergekit’s path+lora and the one-line form give the recipe’s bytes; import prints the recipe', () =>
  inFolder(async (folder) => {
    writeEvery(folder)
    writeFileSync(
      path.join(folder, 'r.yml'),
      'terge: 1\nmodels: {base: base.safetensors, adapter: {path: base.safetensors, lora: adapter}}\nmerge: {method: linear, weights: [1, 2]}\noutput: r.safetensors\n',
    )
    mkdirSync(path.join(folder, 'configs'))
    writeFileSync(
      path.join(folder, 'configs/c.yml'),
      `merge_method: linear
models:
  - {model: ../base.safetensors, parameters: {weight: 1}}
  - {model: ../base.safetensors+../adapter, parameters: {weight: 2}}
dtype: float32
`,
    )
    const bytes = async (...args: string[]) => {
      const ran = await terge([...args, '--no-sync', '--force'], folder)
      assert.is(ran.code, 0, ran.err)
      return readFileSync(path.join(folder, 'r.safetensors'))
    }
    const recipe = await bytes('run', 'r.yml')
    const out = ['-o', 'r.safetensors']
    assert.ok(recipe.equals(await bytes('run', 'configs/c.yml', ...out)))
    assert.ok(
      recipe.equals(await bytes('merge', 'base.safetensors', 'base.safetensors+adapter', '--weights', '1,2', ...out)),
    )
    const imported = await terge(['import', 'configs/c.yml', '-o', 'imported.yml'], folder)
    assert.is(imported.code, 0, imported.err)
    assert.match(
      readFileSync(path.join(folder, 'imported.yml'), 'utf8'),
      '  adapter: {path: base.safetensors, lora: adapter}\n',
    )
    assert.ok(recipe.equals(await bytes('run', 'imported.yml', ...out)))
  }))

test('a single file has its configuration beside it', () =>
  inFolder(async (folder) => {
    const { expected } = writeEvery(folder)
    const text = readFileSync(path.join(folder, 'r.yml'), 'utf8').replace(
      'lora: adapter',
      'lora: adapter/adapter_model.safetensors',
    )
    const prepared = await plan(path.join(folder, 'r.yml'), { text, output: path.join(folder, 'one.safetensors') })
    const { outputs } = await run(prepared, { threads: 1, sync: false })
    compare(await valuesOf(path.join(folder, 'one.safetensors')), expected)
    assert.equal((await verify(outputs[0]!.lineagePath, { recipeFolder: folder })).problems, [])
    mkdirSync(path.join(folder, 'alone'))
    writeFileSync(
      path.join(folder, 'alone/x.safetensors'),
      readFileSync(path.join(folder, 'adapter/adapter_model.safetensors')),
    )
    writeFileSync(path.join(folder, 'r.yml'), text.replace('adapter/adapter_model', 'alone/x'))
    const ran = await terge(['validate', 'r.yml'], folder)
    assert.is(ran.code, 2)
    assert.match(ran.err, /r\.yml:2:\d+: error no-adapter: tuned\.lora: it has no adapter_config\.json/)
  }))

test.run()
