/** `extract`: adapters against singular value decompositions by Jacobi rotations, and against what they are applied to. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { inspect, type Lineage, plan, type RunEvent, run } from '../../src/index.js'
import { runWith } from '../../src/session/run.js'
import type { ExtractRecord } from '../../src/steps/extract/types.js'
import { matrix, product, svd } from '../reference/linalg.js'
import { bf16, f32, f32Of, i64, inFolder, numbers, type RawTensor, random, writeModel } from '../support/files.js'
import { openCounting } from '../support/pools.js'
import { fixture, terge } from '../support/terge.js'

type Tensors = Readonly<Record<string, RawTensor>>
interface Values {
  readonly shape: readonly number[]
  readonly values: Float32Array | Float64Array
}

async function read(file: string): Promise<Map<string, Values>> {
  const { stored: tensors } = await inspect(file)
  const content = readFileSync(file)
  return new Map(
    [...tensors].map(([name, { offset, bytes, shape, dtype }]) => {
      const part = content.buffer.slice(content.byteOffset + offset, content.byteOffset + offset + bytes)
      const values =
        dtype === 'F64'
          ? new Float64Array(part)
          : dtype === 'BF16'
            ? Float32Array.from(
                new Uint16Array(part),
                (bits) => new Float32Array(Uint32Array.of(bits << 16).buffer)[0]!,
              )
            : new Float32Array(part)
      return [name, { shape, values }]
    }),
  )
}

/** What an adapter adds to its base, tensor by tensor, by PEFT's rules. */
function deltas(adapter: ReadonlyMap<string, Values>, config: Config): Map<string, Float64Array> {
  const found = new Map<string, Float64Array>()
  for (const [name, { shape, values }] of adapter) {
    const [, module, embedding] = /^base_model\.model\.(.*)\.lora_(embedding_)?A(\.weight)?$/.exec(name) ?? []
    if (module === undefined) continue
    const b = adapter.get(name.replace(/A(\.weight)?$/, 'B$1'))!
    const rank = shape[0]!
    const scale = (config.alpha_pattern[module] ?? config.lora_alpha) / (config.rank_pattern[module] ?? config.r)
    assert.is(rank, config.rank_pattern[module] ?? config.r)
    const whole = product(matrix(b.shape[0]!, rank, b.values), matrix(rank, values.length / rank, values))
    const turned = embedding || (config.fan_in_fan_out && /c_(attn|proj|fc)$/.test(module))
    const { rows, columns } = whole
    found.set(
      `${module}.weight`,
      Float64Array.from({ length: rows * columns }, (_, at) => {
        const [i, j] = turned ? [at % rows, Math.floor(at / rows)] : [Math.floor(at / columns), at % columns]
        return scale * whole.values[i * columns + j]!
      }),
    )
  }
  return found
}

interface Config {
  readonly r: number
  readonly lora_alpha: number
  readonly fan_in_fan_out: boolean
  readonly rank_pattern: Readonly<Record<string, number>>
  readonly alpha_pattern: Readonly<Record<string, number>>
  readonly target_modules: readonly string[]
  readonly modules_to_save: readonly string[] | null
  readonly base_model_name_or_path: string | null
  readonly task_type: string | null
  readonly revision: string | null
}

const json = (file: string) => JSON.parse(readFileSync(file, 'utf8'))
const recipe = (rest: string, more = '', output = './adapter') => `terge: 1
models: {base: base.safetensors, tuned: tuned.safetensors}
${more}steps: {adapter: {extract: {lora: {from: tuned, base: base, ${rest}}}}}
output: {path: ${output}, from: adapter}
`

async function extract(folder: string, text: string, ...flags: string[]): Promise<string> {
  writeFileSync(path.join(folder, 'r.yml'), text)
  const ran = await terge(['run', 'r.yml', '--force', ...flags], folder)
  assert.is(ran.code, 0, ran.err)
  return ran.out
}

/** base + the product of random factors, so that the difference has that rank. */
function tuned({ shape, bytes }: RawTensor, rank: number, seed: number): RawTensor {
  const [rows, ...rest] = shape
  const columns = rest.reduce((all, size) => all * size, 1)
  const [b, a] = [
    matrix(rows!, rank, numbers(rows! * rank, seed)),
    matrix(rank, columns, numbers(rank * columns, seed + 1)),
  ]
  const base = new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4)
  return f32(
    shape,
    product(b, a).values.map((value, i) => base[i]! + value),
  )
}

const LAYERS: Tensors = {
  'wte.weight': random([50, 24], 1),
  'h.0.attn.c_attn.weight': random([24, 72], 2),
  'h.0.attn.c_attn.bias': random([72], 3),
  'h.0.attn.c_proj.weight': random([24, 24], 4),
  'h.0.ln.weight': random([24], 5),
  'h.0.ln.bias': random([24], 6),
  'conv.weight': random([20, 6, 3, 3], 7),
  'small.weight': random([3, 40], 8),
  'lm_head.weight': random([50, 24], 9),
  'experts.gate_up': random([2, 4, 5], 10),
  steps: i64([1], [3n]),
}
const MATRICES = ['wte', 'h.0.attn.c_attn', 'h.0.attn.c_proj', 'conv', 'small', 'lm_head'].map(
  (name) => `${name}.weight`,
)

function writePair(folder: string, base: Tensors, rank: number, names: readonly string[]): Tensors {
  const other = { ...base }
  for (const [index, name] of names.entries()) other[name] = tuned(base[name]!, Math.min(rank, 3), 100 + index)
  writeModel(path.join(folder, 'base.safetensors'), base)
  writeModel(path.join(folder, 'tuned.safetensors'), other)
  return other
}

for (const [method, dtype, alpha] of [
  ['exact', 'float32', ''],
  ['randomised, oversampling: 2', 'float32', ', alpha: 11'],
  ['auto', 'float64', ''],
] as const)
  test(`a difference of low rank is held whole: ${method}, ${dtype}`, () =>
    inFolder(async (folder) => {
      const other = writePair(folder, LAYERS, 4, MATRICES)
      writeModel(path.join(folder, 'tuned.safetensors'), { ...other, 'new.weight': f32([1], [1]) })
      const text = recipe(`rank: 4, method: ${method}${alpha}`, `compute: ${dtype}\n`).replace(
        'from: adapter',
        `from: adapter, dtype: ${dtype}`,
      )
      await extract(folder, text, '--threads', '1')
      const bytes = readFileSync(path.join(folder, 'adapter/adapter_model.safetensors'))
      await extract(folder, text, '--threads', '2')
      assert.ok(bytes.equals(readFileSync(path.join(folder, 'adapter/adapter_model.safetensors'))), 'threads')
      const config: Config = json(path.join(folder, 'adapter/adapter_config.json'))
      const added = deltas(await read(path.join(folder, 'adapter/adapter_model.safetensors')), config)
      assert.equal([...added.keys()].sort(), [...MATRICES].sort())
      for (const [name, delta] of added) {
        const [base, expected] = [f32Of(LAYERS[name]!), f32Of(other[name]!)]
        for (const [i, value] of delta.entries())
          assert.ok(Math.abs(base[i]! + value - expected[i]!) < 3e-6, `${name} ${i}: ${base[i]! + value}`)
      }
      const { steps }: Lineage = json(path.join(folder, 'adapter/lineage.json'))
      const { energy, left, modules } = steps.adapter as unknown as {
        energy: { total: number; least: number }
        left: Record<string, string>
        modules: Record<string, { found: number; rank: number; energy: number }>
      }
      assert.ok(energy.least > 1 - 1e-9, JSON.stringify(energy))
      assert.is(modules['small.weight']!.rank, 3)
      assert.is(modules['lm_head.weight']!.found, 3)
      assert.equal(left, {
        'experts.gate_up': 'no weight of a layer that adapters know',
        'h.0.attn.c_attn.bias': 'a bias of an adapted layer: lora_bias',
        'h.0.ln.bias': 'a norm or a bias: modules_to_save',
        'h.0.ln.weight': 'a norm or a bias: modules_to_save',
        'new.weight': 'base has no such tensor',
        steps: 'not a floating-point dtype',
      })
      const { fan_in_fan_out, rank_pattern, r, lora_alpha, target_modules, base_model_name_or_path } = config
      assert.equal([fan_in_fan_out, r, lora_alpha], [true, 4, alpha === '' ? 4 : 11])
      assert.equal(rank_pattern, { small: 3 })
      assert.equal(target_modules, ['c_attn', 'c_proj', 'conv', 'lm_head', 'small', 'wte'])
      assert.is(base_model_name_or_path, 'base.safetensors')
    }))

/** ‖δ‖², and the least of its squared distance to a matrix of the rank. */
function optimum(delta: Float64Array, rows: number, rank: number): { squares: number; least: number } {
  const { values } = svd(matrix(rows, delta.length / rows, delta))
  const squares = delta.reduce((sum, x) => sum + x * x, 0)
  return { squares, least: values.slice(rank).reduce((sum, value) => sum + value * value, 0) }
}

test('of a difference of full rank the best of the rank is kept, and the figure says how much', () =>
  inFolder(async (folder) => {
    const shapes: Readonly<Record<string, readonly [number, number]>> = {
      up: [90, 40],
      down: [40, 90],
      square: [64, 64],
    }
    const make = (seed: number): Tensors =>
      Object.fromEntries(
        Object.entries(shapes).map(([name, shape], i) => [`${name}.weight`, random(shape, seed + i)] as const),
      )
    const [base, other] = [make(1), make(20)]
    writeModel(path.join(folder, 'base.safetensors'), base)
    writeModel(path.join(folder, 'tuned.safetensors'), other)
    for (const method of ['exact', 'randomised']) {
      await extract(folder, recipe(`rank: 6, method: ${method}`))
      const config: Config = json(path.join(folder, 'adapter/adapter_config.json'))
      const added = deltas(await read(path.join(folder, 'adapter/adapter_model.safetensors')), config)
      const { steps }: Lineage = json(path.join(folder, 'adapter/lineage.json'))
      const { modules } = steps.adapter as unknown as { modules: Record<string, { energy: number; norm: number }> }
      for (const [name, found] of added) {
        const [a, b] = [f32Of(base[name]!), f32Of(other[name]!)]
        const delta = Float64Array.from(a, (x, i) => Math.fround(b[i]! - x))
        const { squares, least } = optimum(delta, base[name]!.shape[0]!, 6)
        const rest = delta.reduce((sum, x, i) => sum + (x - found[i]!) ** 2, 0)
        assert.ok(Math.sqrt(rest) <= Math.sqrt(least) * (method === 'exact' ? 1 + 1e-6 : 1.01), `${method} ${name}`)
        assert.ok(Math.abs(modules[name]!.energy - (1 - rest / squares)) < 1e-5, `${method} ${name}: energy`)
        assert.ok(Math.abs(modules[name]!.norm ** 2 / squares - 1) < 1e-9)
      }
    }
  }))

test('panels: a matrix that is not held whole gives what a held one gives, tile edges inside of rows', () =>
  inFolder(async (folder) => {
    const base: Tensors = { 'l.weight': bf16([1100, 700], numbers(770000, 3)) }
    const low = tuned(random([1100, 700], 5), 5, 6)
    writeModel(path.join(folder, 'base.safetensors'), base)
    writeModel(path.join(folder, 'tuned.safetensors'), { 'l.weight': low })
    writeFileSync(path.join(folder, 'r.yml'), recipe('rank: 7, method: randomised'))
    const made: Lineage[] = []
    for (const [panel, threads] of [
      [2 ** 26, 2],
      [300000, 1],
      [300000, 2],
    ] as const) {
      const prepared = await plan(path.join(folder, 'r.yml'), { output: path.join(folder, `${panel}-${threads}`) })
      const factorings = prepared.plan.factorings.map((factoring) => ({
        ...factoring,
        work: { ...factoring.work, options: { ...factoring.work.options, panel } },
      }))
      const ran = await run({ ...prepared, plan: { ...prepared.plan, factorings } }, { threads, sync: false })
      made.push(ran.outputs[0]!.lineage)
    }
    const [whole, one, two] = made.map(({ tensors, steps }) => ({
      digests: Object.values(tensors).map(({ digest }) => digest),
      energy: (steps.adapter as unknown as ExtractRecord).energy.total,
    }))
    assert.equal(one, two)
    assert.ok(Math.abs(whole!.energy - one!.energy) < 1e-9, `${whole!.energy} ${one!.energy}`)
    for (const [{ models }, { models: others }] of [[made[0]!, made[1]!]] as const) assert.equal(models, others)
    const files = ['67108864-2', '300000-1'].map((name) => path.join(folder, name, 'adapter_model.safetensors'))
    const [a, b] = await Promise.all(files.map(read))
    const config: Config = json(path.join(folder, '300000-1/adapter_config.json'))
    const [first, second] = [deltas(a!, config), deltas(b!, config)].map((all) => all.get('l.weight')!)
    // BF16 factors: what the two differ by is rounding.
    const apart = first!.reduce((most, x, i) => Math.max(most, Math.abs(x - second![i]!)), 0)
    const largest = first!.reduce((most, x) => Math.max(most, Math.abs(x)), 0)
    assert.ok(apart < 0.02 * largest, `${apart} of ${largest}`)
  }))

test('a language model: folder, configuration, card, plan, terminal, verify', () =>
  inFolder(async (folder) => {
    const models = `models: {base: ${fixture('lm/base')}, tuned: ${fixture('lm/prose')}}`
    const text = recipe('rank: 8, modules_to_save: true, exclude: "**.mlp.**"').replace(/models: .*/, models)
    writeFileSync(path.join(folder, 'r.yml'), text)
    const shown = await terge(['plan', 'r.yml'], folder)
    assert.match(shown.out, 'rank 8, exact: 18')
    assert.match(shown.out, 'factors: 36 tensors for 18 layers')
    assert.match(shown.out, 'saved in full in the adapter: 9')
    assert.match(shown.out, 'excluded: 12')
    const out = await extract(folder, text)
    assert.match(
      out,
      /^adapter: tuned − base in 18 layers, rank 8, explains \d\d\.\d % of the difference \(median layer /,
    )
    const config: Config = json(path.join(folder, 'adapter/adapter_config.json'))
    assert.is(config.task_type, 'CAUSAL_LM')
    assert.equal(config.target_modules, ['embed_tokens', 'k_proj', 'lm_head', 'o_proj', 'q_proj', 'v_proj'])
    assert.is(config.modules_to_save!.length, 9)
    assert.ok(config.modules_to_save!.includes('model.layers.0.input_layernorm'))
    const norm = 'base_model.model.model.norm.weight'
    const saved = (await read(path.join(folder, 'adapter/adapter_model.safetensors'))).get(norm)!
    assert.equal(saved, (await read(path.join(fixture('lm/prose'), 'model.safetensors'))).get('model.norm.weight'))
    const { tensors }: Lineage = json(path.join(folder, 'adapter/lineage.json'))
    assert.is(tensors[norm]!.reason, 'saved-whole')
    const { method, parameters, sources, base } = tensors['base_model.model.lm_head.lora_B.weight']!
    assert.equal(
      [method, parameters, sources[0]!.model, base!.model],
      ['extract', { factor: 'b', rank: 8, method: 'exact', scale: 1 }, 'tuned', 'base'],
    )
    const card = readFileSync(path.join(folder, 'adapter/README.md'), 'utf8')
    assert.match(card, 'library_name: peft\ntags: [lora, terge]')
    const verified = await terge(['verify', 'adapter/lineage.json', '--reproduce'], folder)
    assert.is(verified.code, 0, verified.out + verified.err)
    assert.is((await terge(['report', 'adapter/lineage.json', '-o', 'r.html'], folder)).code, 0)
    for (const format of ['json', 'dot', 'mermaid'])
      assert.is((await terge(['plan', 'r.yml', '--format', format], folder)).code, 0)
  }))

test('of a merge, from a step, as one file; layers without a difference; a part of the layers', () =>
  inFolder(async (folder) => {
    const base: Tensors = Object.fromEntries(
      [0, 1, 2].map((i) => [`layers.${i}.fc.weight`, random([12, 9], i + 1)] as const),
    )
    const names = ['layers.0.fc.weight', 'layers.2.fc.weight']
    writePair(folder, base, 2, names)
    const text = `terge: 1
models: {base: base.safetensors, tuned: tuned.safetensors}
steps:
  half: {merge: {method: linear, models: [base, tuned]}}
  adapter: {extract: {lora: {from: half, base: base, rank: 3, include: ["layers.0.**", "layers.1.**"]}}}
outputs:
  - {path: out.safetensors, from: adapter, dtype: float32}
  - {path: half.safetensors, from: half}
`
    await extract(folder, text)
    assert.not(existsSync(path.join(folder, 'adapter_config.json')))
    const adapter = await read(path.join(folder, 'out.safetensors'))
    const lora = deltas(adapter, { r: 3, lora_alpha: 3, rank_pattern: {}, alpha_pattern: {} } as unknown as Config)
    const half = await read(path.join(folder, 'half.safetensors'))
    for (const [i, value] of lora.get('layers.0.fc.weight')!.entries())
      assert.ok(
        Math.abs(f32Of(base['layers.0.fc.weight']!)[i]! + value - half.get('layers.0.fc.weight')!.values[i]!) < 1e-6,
      )
    assert.ok(lora.get('layers.1.fc.weight')!.every((value) => value === 0))
    const { steps }: Lineage = json(path.join(folder, 'out.lineage.json'))
    const { modules, changed } = steps.adapter as unknown as {
      modules: Record<string, { energy: number | null }>
      changed: number
    }
    assert.equal([modules['layers.1.fc.weight']!.energy, changed], [null, 1])
  }))

test('applied to its base, an adapter of the whole difference gives the tuned model', () =>
  inFolder(async (folder) => {
    const other = writePair(folder, LAYERS, 4, MATRICES)
    const tunedNorm = { ...other, 'h.0.ln.weight': random([24], 77) }
    writeModel(path.join(folder, 'tuned.safetensors'), tunedNorm)
    await extract(folder, recipe('rank: 4, alpha: 3, modules_to_save: true'))
    writeFileSync(
      path.join(folder, 'apply.yml'),
      `terge: 1
models: {base: base.safetensors, both: {path: base.safetensors, lora: ./adapter}}
merge: {method: passthrough, models: [both]}
output: applied.safetensors
`,
    )
    const ran = await terge(['run', 'apply.yml'], folder)
    assert.is(ran.code, 0, ran.err)
    const applied = await read(path.join(folder, 'applied.safetensors'))
    for (const [name, { values }] of applied) {
      if (name === 'steps') continue
      const expected = f32Of((tunedNorm as Tensors)[name]!)
      for (const [i, value] of values.entries()) assert.ok(Math.abs(value - expected[i]!) < 4e-6, `${name} ${i}`)
    }
  }))

test('biases of adapted layers, under the adapter’s scale', () =>
  inFolder(async (folder) => {
    const base: Tensors = {
      'fc.weight': random([6, 5], 1),
      'fc.bias': random([6], 2),
    }
    const other = writePair(folder, base, 2, ['fc.weight'])
    const bias = random([6], 9)
    writeModel(path.join(folder, 'tuned.safetensors'), { ...other, 'fc.bias': bias })
    await extract(folder, recipe('rank: 2, alpha: 8, lora_bias: true'))
    const adapter = await read(path.join(folder, 'adapter/adapter_model.safetensors'))
    const added = adapter.get('base_model.model.fc.lora_B.bias')!.values
    for (const [i, value] of added.entries())
      assert.ok(Math.abs(f32Of(base['fc.bias']!)[i]! + 4 * value - f32Of(bias)[i]!) < 1e-6)
    assert.is(json(path.join(folder, 'adapter/adapter_config.json')).lora_bias, true)
    const { steps }: Lineage = json(path.join(folder, 'adapter/lineage.json'))
    assert.not('left' in steps.adapter!)
  }))

test('biases of only some adapted layers are saved whole, as PEFT reads them', () =>
  inFolder(async (folder) => {
    const base: Tensors = {
      'q.weight': random([6, 5], 1),
      'q.bias': random([6], 2),
      'o.weight': random([5, 6], 3),
    }
    const other = writePair(folder, base, 2, ['q.weight', 'o.weight'])
    const bias = random([6], 9)
    writeModel(path.join(folder, 'tuned.safetensors'), { ...other, 'q.bias': bias })
    await extract(folder, recipe('rank: 2, alpha: 8, lora_bias: true'))
    const adapter = await read(path.join(folder, 'adapter/adapter_model.safetensors'))
    assert.equal([...adapter.get('base_model.model.q.base_layer.bias')!.values], [...f32Of(bias)])
    assert.not.ok([...adapter.keys()].some((name) => name.endsWith('lora_B.bias')))
    const config = json(path.join(folder, 'adapter/adapter_config.json'))
    assert.equal([config.bias, config.lora_bias], ['lora_only', undefined])
    const ran = await terge(
      ['merge', 'base.safetensors+adapter', '--method', 'passthrough', '-o', 'm.safetensors'],
      folder,
    )
    assert.is(ran.code, 0, ran.err)
    const applied = await read(path.join(folder, 'm.safetensors'))
    assert.equal([...applied.get('q.bias')!.values], [...f32Of(bias)])
  }))

test('names of targets: a last part only where all that end in it are meant', () =>
  inFolder(async (folder) => {
    const base: Tensors = {
      'a.proj.weight': random([8, 8], 1),
      'b.proj.weight': random([8, 8], 2),
      'c.gate.weight': random([8, 8], 3),
    }
    writePair(folder, base, 2, Object.keys(base))
    await extract(folder, recipe('rank: 2, exclude: b.proj.weight'))
    assert.equal(json(path.join(folder, 'adapter/adapter_config.json')).target_modules, ['a.proj', 'gate'])
  }))

test('names of targets: a number says what it numbers, and no name is that of what holds others', () =>
  inFolder(async (folder) => {
    const base: Tensors = Object.fromEntries(
      ['down.0.to_q', 'down.0.to_out.0', 'up.1.to_out.0', 'x.mix', 'y.mix.inner', 'y.to_v'].map((name, seed) => [
        `${name}.weight`,
        random([8, 8], seed),
      ]),
    )
    writePair(folder, base, 2, Object.keys(base))
    await extract(folder, recipe('rank: 2'))
    const { target_modules } = json(path.join(folder, 'adapter/adapter_config.json'))
    assert.equal(target_modules, ['inner', 'to_out.0', 'to_q', 'to_v', 'x.mix'])
  }))

test('a resumed run gives the same bytes and figures', () =>
  inFolder(async (folder) => {
    writePair(folder, LAYERS, 4, MATRICES)
    const text = recipe('rank: 4')
    await extract(folder, text)
    const files = ['adapter_model.safetensors', 'lineage.json', 'README.md']
    const all = (from: string) => files.map((name) => readFileSync(path.join(folder, from, name), 'utf8'))
    const expected = all('adapter')
    const prepared = await plan(path.join(folder, 'r.yml'), { output: path.join(folder, 'again') })
    const stop = new AbortController()
    const openPool = openCounting(6, () => stop.abort())
    await runWith(prepared, { threads: 1, resume: true, signal: stop.signal }, { openPool }).then(
      () => assert.unreachable('it was stopped'),
      ({ exit }) => assert.is(exit, 130),
    )
    assert.not(existsSync(path.join(folder, 'again')))
    let kept = 0
    const listen = (event: RunEvent) => {
      if (event.kind === 'start') kept = event.done
    }
    await run(prepared, { threads: 2, resume: true, listen })
    assert.ok(kept > 0)
    const [weights, lineage] = all('again')
    assert.is(weights, expected[0])
    assert.is(lineage, expected[1])
  }))

test('faults', () =>
  inFolder(async (folder) => {
    writePair(folder, LAYERS, 4, MATRICES)
    const told = async (text: string, command = 'validate') => {
      writeFileSync(path.join(folder, 'r.yml'), text)
      const { code, err } = await terge([command, 'r.yml'], folder)
      return `${code} ${err}`
    }
    assert.match(await told(recipe('rank: 0')), /^2 r\.yml:3:\d+: error bad-value: 'rank' must be at least 1, not '0'/)
    const large = await told(recipe('rank: 25'))
    assert.match(
      large,
      'error rank-too-large: rank 25 is larger than the rank of any matrix: the largest possible rank is 24',
    )
    assert.match(large, 'hint: write rank: 24 or less')
    assert.match(
      await told(recipe('rank: 4').replace('from: tuned', 'from: base')),
      "error contradiction: 'from' and 'base' are both 'base', so there is no difference to extract",
    )
    assert.match(await told(recipe('rank: 4').replace('from: tuned', 'from: tined')), "hint: did you mean 'tuned'?")
    assert.match(await told(recipe('rank: 4, exclude: nothing.weight')), "error no-match: the pattern 'nothing.weight'")
    assert.match(await told(recipe('rank: 4, include: steps')), 'error nothing-to-extract')
    assert.match(await told(recipe('rank: 4, metod: exact')), "error unknown-key: 'lora' has no key 'metod'\n")
    const used = recipe('rank: 4').replace(
      'steps: {',
      'steps: {x: {merge: {method: linear, models: [base, adapter]}}, ',
    )
    assert.match(await told(used.replace('from: adapter', 'from: x')), "error not-a-model: 'adapter' is an adapter")

    writeModel(path.join(folder, 'tuned.safetensors'), { ...LAYERS, 'small.weight': random([3, 41], 1) })
    const shape = await told(recipe('rank: 4'))
    assert.match(shape, 'error tensor-mismatch: small.weight is [3, 41] in tuned but [3, 40] in base')
    assert.match(shape, "hint: skip it: exclude: ['small.weight']")

    writeModel(path.join(folder, 'tuned.safetensors'), LAYERS)
    const same = await told(recipe('rank: 4'), 'run')
    assert.match(same, /^1 [\s\S]*error nothing-to-extract: adapter: the two models are equal in every layer/)
    assert.not(existsSync(path.join(folder, 'adapter')))
    const broken = f32Of(LAYERS['small.weight']!).slice()
    broken[7] = Number.NaN
    writeModel(path.join(folder, 'tuned.safetensors'), { ...LAYERS, 'small.weight': f32([3, 40], broken) })
    assert.match(
      await told(recipe('rank: 3'), 'run'),
      /^1 [\s\S]*error not-finite: small\.weight: the difference contains NaN or infinite elements/,
    )
    assert.not(existsSync(path.join(folder, 'adapter')))
  }))

test('the warning of a tied head names the embedding of tokens, not that of positions', () =>
  inFolder(async (folder) => {
    const model = (seed: number): Tensors => ({
      'h.0.attn.c_attn.weight': random([4, 12], seed),
      'h.0.attn.c_attn.bias': random([12], seed + 1),
      'wpe.weight': random([6, 4], seed + 2),
      'wte.weight': random([9, 4], seed + 3),
    })
    for (const [name, seed] of Object.entries({ base: 1, tuned: 20 })) {
      mkdirSync(path.join(folder, name))
      writeModel(path.join(folder, name, 'model.safetensors'), model(seed))
      writeFileSync(
        path.join(folder, name, 'config.json'),
        '{"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"]}',
      )
    }
    const text = (exclude: string) =>
      `terge: 1\nmodels: {base: base, tuned: tuned}\nsteps: {e: {extract: {lora: {from: tuned, base: base, rank: 2${exclude}}}}}\noutput: out\n`
    const warned = async (exclude = '') => {
      writeFileSync(path.join(folder, 'r.yml'), text(exclude))
      const { diagnostics } = await plan(path.join(folder, 'r.yml'))
      return diagnostics.filter(({ code }) => code === 'tied-embedding').map(({ message }) => message.split(' ')[0])
    }
    assert.equal(await warned(), ['wte.weight'])
    assert.equal(await warned(', exclude: [wte.weight]'), [])
  }))

test('energy chooses the smallest rank of each layer; with rank, at most that', () =>
  inFolder(async (folder) => {
    const shapes: Readonly<Record<string, readonly [number, number]>> = {
      'a.q.weight': [20, 12],
      'a.k.weight': [9, 14],
    }
    const valuesOf = (seed: number) =>
      new Map(Object.entries(shapes).map(([name, [rows, columns]], i) => [name, numbers(rows * columns, seed + i)]))
    const [base, tuned] = [valuesOf(0), valuesOf(7)]
    for (const [file, values] of [
      ['base', base],
      ['tuned', tuned],
    ] as const)
      writeModel(
        path.join(folder, `${file}.safetensors`),
        Object.fromEntries([...values].map(([name, own]) => [name, f32(shapes[name]!, own)])),
      )
    const made = async (rest: string) => {
      writeFileSync(path.join(folder, 'r.yml'), recipe(rest))
      const ran = await terge(['run', 'r.yml', '--force'], folder)
      assert.is(ran.code, 0, ran.err)
      return (json(path.join(folder, 'adapter/lineage.json')).steps.adapter as ExtractRecord).modules
    }
    const chosen = await made('energy: 0.9')
    for (const [name, [rows, columns]] of Object.entries(shapes)) {
      const difference = tuned.get(name)!.map((x, i) => x - base.get(name)![i]!)
      const squares = [...svd(matrix(rows, columns, difference)).values].map((value) => value * value)
      const total = squares.reduce((sum, square) => sum + square, 0)
      let [rank, sum] = [0, 0]
      while (sum < 0.9 * total) sum += squares[rank++]!
      assert.is(chosen[name]!.rank, rank, name)
      assert.ok(Math.abs(chosen[name]!.energy! - sum / total) < 1e-6)
    }
    assert.is((await terge(['verify', 'adapter/lineage.json', '--reproduce'], folder)).code, 0)
    // The scale is 1 for every rank.
    const { rank_pattern, alpha_pattern, r, lora_alpha } = json(
      path.join(folder, 'adapter/adapter_config.json'),
    ) as Config
    assert.equal(alpha_pattern, rank_pattern)
    assert.is(lora_alpha, r)
    const bounded = await made('energy: 0.9, rank: 3, method: randomised')
    assert.equal(
      Object.values(bounded).map(({ rank }) => rank),
      [3, 3],
    )
    writeFileSync(path.join(folder, 'r.yml'), recipe('alpha: 2'))
    assert.match(
      (await terge(['validate', 'r.yml'], folder)).err,
      'error missing-key: an extraction needs a rank, an energy or an sv_epsilon',
    )
  }))

test('LoKr: the best Kronecker product of each difference, as PEFT holds it', () =>
  inFolder(async (folder) => {
    const shapes: Readonly<Record<string, readonly number[]>> = {
      'a.fc.weight': [12, 18],
      'a.conv.weight': [8, 6, 3, 3],
      'embed_tokens.weight': [10, 4],
    }
    const valuesOf = (seed: number) =>
      new Map(
        Object.entries(shapes).map(([name, shape], i) => [
          name,
          numbers(
            shape.reduce((product, size) => product * size, 1),
            seed + i,
          ),
        ]),
      )
    const [base, tuned] = [valuesOf(0), valuesOf(7)]
    for (const [file, values] of [
      ['base', base],
      ['tuned', tuned],
    ] as const)
      writeModel(
        path.join(folder, `${file}.safetensors`),
        Object.fromEntries([...values].map(([name, own]) => [name, f32(shapes[name]!, own)])),
      )
    const text = (rest: string) =>
      recipe('').replace(
        'extract: {lora: {from: tuned, base: base, }}',
        `extract: {lokr: {from: tuned, base: base${rest}}}`,
      )
    writeFileSync(path.join(folder, 'r.yml'), text(''))
    const ran = await terge(['run', 'r.yml'], folder)
    assert.is(ran.code, 0, ran.err)
    const adapter = await read(path.join(folder, 'adapter/adapter_model.safetensors'))
    assert.equal(
      [...adapter].map(([name, { shape }]) => [name, shape]),
      [
        ['base_model.model.a.conv.lokr_w1', [2, 2]],
        ['base_model.model.a.conv.lokr_w2', [4, 3, 3, 3]],
        ['base_model.model.a.fc.lokr_w1', [3, 3]],
        ['base_model.model.a.fc.lokr_w2', [4, 6]],
      ],
    )
    const { peft_type, r, alpha, decompose_factor } = json(path.join(folder, 'adapter/adapter_config.json'))
    assert.equal([peft_type, r, alpha, decompose_factor], ['LOKR', 6, 6, -1])
    const { modules, left } = json(path.join(folder, 'adapter/lineage.json')).steps.adapter as ExtractRecord
    assert.equal(left, { 'embed_tokens.weight': 'an embedding: LoKr has none' })
    for (const [module, [b, d, kernel]] of [
      ['a.fc', [4, 6, 1]],
      ['a.conv', [4, 3, 9]],
    ] as const) {
      const [w1, w2] = ['w1', 'w2'].map((name) => adapter.get(`base_model.model.${module}.lokr_${name}`)!)
      const [outer, inner] = w1!.shape as [number, number]
      // A row per element of W1, a column per element of W2.
      const ordered = new Float64Array(outer * inner * b * d * kernel)
      const change = tuned.get(`${module}.weight`)!.map((x, i) => x - base.get(`${module}.weight`)![i]!)
      for (const [at, value] of change.entries()) {
        const [row, column, k] = [
          Math.floor(at / (inner * d * kernel)),
          Math.floor(at / kernel) % (inner * d),
          at % kernel,
        ]
        const first = Math.floor(row / b) * inner + Math.floor(column / d)
        const second = ((row % b) * d + (column % d)) * kernel + k
        ordered[first * b * d * kernel + second] = value
      }
      const { values } = svd(matrix(outer * inner, b * d * kernel, ordered))
      const total = values.reduce((sum, value) => sum + value * value, 0)
      const lost = ordered.reduce((sum, value, at) => {
        const [i, j] = [Math.floor(at / (b * d * kernel)), at % (b * d * kernel)]
        return sum + (value - w1!.values[i]! * w2!.values[j]!) ** 2
      }, 0)
      assert.ok(Math.abs(1 - lost / total - values[0]! ** 2 / total) < 1e-6, module)
      assert.ok(Math.abs(modules[`${module}.weight`]!.energy! - values[0]! ** 2 / total) < 1e-6)
    }
    const applied = await terge(
      ['merge', 'base.safetensors+adapter', '--method', 'passthrough', '-o', 'm.safetensors'],
      folder,
    )
    assert.is(applied.code, 0, applied.err)
    writeFileSync(path.join(folder, 'r.yml'), text(', factor: 2'))
    assert.is((await terge(['run', 'r.yml', '--force'], folder)).code, 0)
    assert.equal(
      (await read(path.join(folder, 'adapter/adapter_model.safetensors'))).get('base_model.model.a.fc.lokr_w1')!.shape,
      [2, 2],
    )
    writeFileSync(path.join(folder, 'r.yml'), text('').replaceAll(/(base|tuned)\.safetensors/g, 'gpt-$1.safetensors'))
    for (const [name, seed] of [
      ['base', 1],
      ['tuned', 2],
    ] as const)
      writeModel(path.join(folder, `gpt-${name}.safetensors`), {
        'h.0.attn.c_attn.weight': random([8, 24], seed),
        'h.0.attn.c_attn.bias': random([24], 3),
      })
    const conv1d = await terge(['validate', 'r.yml'], folder)
    assert.match(conv1d.err, 'error nothing-to-extract: tuned and base share no layer that a LoKr adapter can hold')
    assert.match(conv1d.err, 'extract a LoRA, with lora')
    writeFileSync(
      path.join(folder, 'r.yml'),
      recipe('rank: 2').replace('extract: {', 'extract: {lokr: {from: tuned, base: base}, '),
    )
    assert.match(
      (await terge(['validate', 'r.yml'], folder)).err,
      "error contradiction: extract needs either 'lora' or 'lokr'",
    )
  }))

test.run()
