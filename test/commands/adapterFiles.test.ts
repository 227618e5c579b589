/** Adapters of sd-scripts, LyCORIS and ComfyUI, applied to their bases: what these libraries make of them. */
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { matrix, merged, stored } from '../support/adapters.js'
import { diffusionModel, type RawTensors, writePipeline } from '../support/diffusion.js'
import { f32, inFolder, type RawTensor, safetensors, writeModel } from '../support/files.js'
import { tensorsOf } from '../support/lowRank.js'
import { fixture, terge } from '../support/terge.js'

const FIXTURES = fileURLToPath(new URL('../../../test/fixtures/adapters', import.meta.url))
const fileOf = (set: string): string | undefined =>
  ['kohya.safetensors', 'comfy.safetensors'].find((name) => existsSync(path.join(FIXTURES, set, name)))
const sets = readdirSync(FIXTURES).filter((set) => fileOf(set) !== undefined)

test('there is a set for each format and kind', () => assert.ok(sets.length >= 11, `${sets}`))

async function apply(folder: string, base: string, lora: string, more = '', threads = 1): Promise<string> {
  const model = `{path: ${JSON.stringify(base)}, lora: ${JSON.stringify(lora)}${more}}`
  writeFileSync(
    path.join(folder, 'r.yml'),
    `terge: 1\nmodels: {m: ${model}}\nmerge: {method: passthrough}\noutput: out.safetensors\n`,
  )
  const ran = await terge(['run', 'r.yml', '--force', '--threads', `${threads}`], folder)
  assert.is(ran.code, 0, ran.err)
  return path.join(folder, 'out.safetensors')
}

for (const set of sets)
  test(`${set}: the model is the one that its library makes`, () =>
    inFolder(async (folder) => {
      const from = path.join(FIXTURES, set)
      const made = await tensorsOf(
        await apply(folder, path.join(from, 'base.safetensors'), path.join(from, fileOf(set)!)),
      )
      const wanted = await tensorsOf(path.join(from, 'merged.safetensors'))
      assert.equal([...made.keys()].sort(), [...wanted.keys()].sort())
      let most = 0
      for (const [name, { values }] of wanted)
        most = Math.max(most, ...values.map((value, i) => Math.abs(value - made.get(name)!.values[i]!)))
      assert.ok(most < 1e-6, `${set}: ${most}`)
    }))

/** A low-rank update of each of these weights, in a file of sd-scripts. */
function update(
  kind: 'lora' | 'loha',
  weights: readonly (readonly [name: string, shape: readonly number[]])[],
): RawTensors {
  const tensors: Record<string, RawTensor> = {}
  let seed = 1
  const put = (name: string, shape: readonly number[]) => {
    tensors[name] = stored(matrix(shape, seed++))
  }
  for (const [name, [rows = 0, columns = 0, ...kernel]] of weights) {
    const flat = columns * kernel.reduce((product, size) => product * size, 1)
    if (kind === 'lora') {
      put(`${name}.lora_down.weight`, [2, columns, ...kernel])
      put(`${name}.lora_up.weight`, [rows, 2, ...kernel.map(() => 1)])
      tensors[`${name}.alpha`] = f32([], [1.5])
    } else
      for (const side of ['w1', 'w2']) {
        put(`${name}.hada_${side}_a`, [rows, 2])
        put(`${name}.hada_${side}_b`, [2, flat])
      }
  }
  return tensors
}

const convert = async (folder: string, model: string, layout: string): Promise<string> => {
  const out = 'converted.safetensors'
  writeFileSync(
    path.join(folder, 'c.yml'),
    `terge: 1\nmodels: {m: ${model}}\nmerge: {method: passthrough}\noutput: {path: ${out}, layout: ${layout}}\n`,
  )
  const ran = await terge(['run', 'c.yml', '--force'], folder)
  assert.is(ran.code, 0, ran.err)
  return path.join(folder, out)
}

const flat = (prefix: string, name: string, start: string): string =>
  `${prefix}_${name.slice(start.length, -'.weight'.length).replaceAll('.', '_')}`

test('original files and pipelines get the same update, whatever layout its names are of', () =>
  inFolder(async (folder) => {
    for (const kind of ['sd15', 'sdxl'] as const) {
      const { diffusers, original } = diffusionModel(kind)
      writeModel(path.join(folder, 'original.safetensors'), original)
      writePipeline(path.join(folder, 'pipeline'), kind, diffusers)
      const encoder = kind === 'sd15' ? 'text_encoder.' : 'text_encoder_2.'
      const text = Object.entries(diffusers).flatMap(([name, { shape }]) =>
        name.startsWith(`${encoder}text_model.encoder.layers.0.`) && /(proj|fc\d)\.weight$/.test(name)
          ? [[flat(kind === 'sd15' ? 'lora_te' : 'lora_te2', name, encoder), shape] as const]
          : [],
      )
      const names = kind === 'sd15' ? diffusers : original
      const start = kind === 'sd15' ? 'unet.' : 'model.diffusion_model.'
      const unet = Object.entries(names)
        .filter(([name]) => name.startsWith(start) && /(to_[qkv]|proj_in|conv1|in_layers\.2)\.weight$/.test(name))
        .slice(0, 20)
        .map(([name, { shape }]) => [flat('lora_unet', name, start), shape] as const)
      assert.ok(text.length >= 4 && unet.length === 20, `${text.length} ${unet.length}`)
      for (const way of kind === 'sd15' ? (['loha'] as const) : (['lora'] as const)) {
        writeFileSync(path.join(folder, 'a.safetensors'), safetensors(update(way, [...text, ...unet])))
        const made = readFileSync(await apply(folder, 'original.safetensors', 'a.safetensors'))
        writeFileSync(
          path.join(folder, 'p.yml'),
          'terge: 1\nmodels: {m: {path: pipeline, lora: a.safetensors}}\nmerge: {method: passthrough}\noutput: applied\n',
        )
        const ran = await terge(['run', 'p.yml', '--force'], folder)
        assert.is(ran.code, 0, ran.err)
        const other = await tensorsOf(await convert(folder, 'applied', `${kind}/original`))
        const own = await tensorsOf(path.join(folder, 'out.safetensors'))
        assert.ok(made.length > 0)
        assert.equal([...own.keys()].sort(), [...other.keys()].sort())
        for (const [name, { values }] of own) assert.equal(values, other.get(name)!.values, `${kind} ${way} ${name}`)
      }
    }
  }))

test('Flux: names of Black Forest Labs on a model of diffusers, with parts of qkv and swapped halves', () =>
  inFolder(async (folder) => {
    const model = path.join(fixture('layouts'), 'flux')
    const weights = [...(await tensorsOf(path.join(model, 'original.safetensors')))].flatMap(([name, { shape }]) =>
      name.endsWith('.weight') && shape.length === 2 ? [[flat('lora_unet', name, ''), shape] as const] : [],
    )
    assert.ok(weights.some(([name]) => name.includes('adaLN')) && weights.some(([name]) => name.includes('qkv')))
    writeFileSync(path.join(folder, 'a.safetensors'), safetensors(update('lora', weights)))
    const own = await tensorsOf(await apply(folder, path.join(model, 'original.safetensors'), 'a.safetensors'))
    await apply(folder, path.join(model, 'diffusers'), 'a.safetensors')
    const other = await tensorsOf(await convert(folder, 'out.safetensors', 'flux/original'))
    for (const [name, { values }] of own) assert.equal(values, other.get(name)!.values, name)
  }))

test('lora_scale with dora_scale: the factor of the norms is moved towards 1, as LyCORIS does', () =>
  inFolder(async (folder) => {
    const from = path.join(FIXTURES, 'lyco-dora')
    const [base, lora] = [path.join(from, 'base.safetensors'), path.join(from, 'kohya.safetensors')]
    const made = await tensorsOf(await apply(folder, base, lora, ', lora_scale: 0.25'))
    const [weights, parts] = [await tensorsOf(base), await tensorsOf(lora)]
    const name = 'unet.up_blocks.1.attentions.2.transformer_blocks.0.ff.net.0.proj'
    const own = (role: string) => parts.get(`${flat('lora_unet', `${name}.weight`, 'unet.')}.${role}`)!.values
    const [rows, columns, rank] = [96, 12, 2]
    const [down, up, scale] = [own('lora_down.weight'), own('lora_up.weight'), own('dora_scale')]
    const value = weights.get(`${name}.weight`)!.values.map((weight, i) => {
      const [row, column] = [Math.floor(i / columns), i % columns]
      let sum = 0
      for (let k = 0; k < rank; k++) sum += up[row * rank + k]! * down[k * columns + column]!
      return weight + (sum * own('alpha')[0]!) / rank
    })
    for (let column = 0; column < columns; column++) {
      const norm = Math.hypot(...Array.from({ length: rows }, (_, row) => value[row * columns + column]!))
      for (let row = 0; row < rows; row++) {
        const at = row * columns + column
        const wanted = value[at]! * (1 + 0.25 * (scale[column]! / (norm + 2 ** -23) - 1))
        assert.ok(Math.abs(made.get(`${name}.weight`)!.values[at]! - wanted) < 1e-6)
      }
    }
  }))

test('the bytes do not depend on the number of threads', () =>
  inFolder(async (folder) => {
    for (const set of ['lyco-dora', 'lokr-tucker']) {
      const from = path.join(FIXTURES, set)
      const once = (threads: number) =>
        apply(folder, path.join(from, 'base.safetensors'), path.join(from, 'kohya.safetensors'), '', threads)
      const one = readFileSync(await once(1))
      assert.ok(one.equals(readFileSync(await once(3))))
    }
  }))

test('damaged and hostile files are errors with names of tensors', () =>
  inFolder(async (folder) => {
    const model = { 'unet.a.b.weight': stored(matrix([4, 3], 1)), 'unet.a_b.weight': stored(matrix([4, 3], 2)) }
    const plain = { 'unet.c.weight': stored(matrix([4, 3], 3)) }
    writeModel(path.join(folder, 'base.safetensors'), { ...model, ...plain })
    const refused = async (tensors: RawTensors, expected: RegExp): Promise<void> => {
      writeFileSync(path.join(folder, 'a.safetensors'), safetensors(tensors))
      writeFileSync(
        path.join(folder, 'r.yml'),
        'terge: 1\nmodels: {m: {path: base.safetensors, lora: a.safetensors}}\nmerge: {method: passthrough}\noutput: o.safetensors\n',
      )
      const { code, err } = await terge(['run', 'r.yml'], folder)
      assert.is(code, 2, err)
      assert.match(err, expected)
    }
    const good = update('lora', [['lora_unet_c', [4, 3]]])
    const alpha = (value: number) => ({ ...good, 'lora_unet_c.alpha': f32([], [value]) })
    await refused(alpha(Number.NaN), /bad-adapter.*lora_unet_c\.alpha is NaN/)
    await refused(alpha(0), /bad-adapter.*lora_unet_c\.alpha is 0/)
    await refused({ ...good, 'lora_unet_c.alpha': f32([2], [1, 2]) }, /lora_unet_c\.alpha is not one number/)
    await refused(update('lora', [['lora_unet_c', [5, 3]]]), /adapter-shape.*lora_unet_c: the shapes do not fit/)
    await refused(update('lora', [['lora_unet_a_b', [4, 3]]]), /adapter-names.*'unet\.a\.b' and 'unet\.a_b'/)
    await refused({ ...good, 'lora_unet_c.oft_blocks': f32([1], [1]) }, /adapter-arithmetic.*lora_unet_c\.oft_blocks/)
    await refused(
      { ...good, ...update('lora', [['lora_te_x', [4, 3]]]) },
      /adapter-unused.*lora_te_x[\s\S]*lora_include/,
    )
    await refused({ ...good, '../../etc.lora_down.weight': f32([1, 3], [1, 2, 3]) }, /adapter-unused.*\.\.\/etc/)
    const { 'lora_unet_c.lora_up.weight': _, ...half } = good
    await refused(half, /adapter-factor.*lora_unet_c has no lora_up/)
  }))

test('a header of diffusers gives the scale', () =>
  inFolder(async (folder) => {
    const [w, a, b] = [matrix([4, 3], 1), matrix([2, 3], 2), matrix([4, 2], 3)]
    writeModel(path.join(folder, 'base.safetensors'), { 'unet.c.weight': stored(w) })
    const metadata = { 'unet.r': 2, 'unet.lora_alpha': 6, 'unet.use_rslora': true, 'unet.peft_type': 'LORA' }
    writeModel(
      path.join(folder, 'a.safetensors'),
      { 'unet.c.lora_A.weight': stored(a), 'unet.c.lora_B.weight': stored(b) },
      { lora_adapter_metadata: JSON.stringify(metadata) },
    )
    const made = (await tensorsOf(await apply(folder, 'base.safetensors', 'a.safetensors'))).get(
      'unet.c.weight',
    )!.values
    for (const [i, value] of merged(w, a, b, 6 / Math.SQRT2).entries()) assert.ok(Math.abs(value - made[i]!) < 1e-5)
  }))

test.run()
