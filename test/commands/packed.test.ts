/** Packed weights: refused where they would be computed with, kept where they are copied. */
import { readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { f32, inFolder, numbers, type RawTensor, raw } from '../support/files.js'
import { terge } from '../support/terge.js'
import { jsonOf, matrix, weights, writeFolder } from './families.js'

const zeros = (dtype: string, shape: number[], bits: number): RawTensor =>
  raw(dtype, shape, new Array((shape.reduce((a, b) => a * b, 1) * bits) / 8).fill(1))

const plain = { 'model.norm.weight': matrix(1, 8), 'model.layers.0.up.weight': matrix(2, 8, 8) }
const norm = { 'model.norm.weight': matrix(3, 8) }
const up = 'model.layers.0.up'

/** By scheme: what takes the place of a matrix, and the configuration's word for it, with a format that terge does not read. */
const PACKED: Readonly<Record<string, { tensors: Record<string, RawTensor>; method?: string }>> = {
  'F8_E4M3 with scales': {
    tensors: { [`${up}.weight`]: zeros('F8_E4M3', [8, 8], 8), [`${up}.weight_scale_inv`]: matrix(1, 1, 1) },
  },
  'F8_E5M2 with scales': {
    tensors: { [`${up}.weight`]: zeros('F8_E5M2', [8, 8], 8), [`${up}.input_scale`]: matrix(1, 1) },
  },
  bitsandbytes: {
    tensors: {
      [`${up}.weight`]: zeros('U8', [32, 1], 8),
      [`${up}.weight.absmax`]: matrix(1, 1),
      [`${up}.weight.quant_map`]: matrix(1, 16),
      [`${up}.weight.quant_state.bitsandbytes__nf4`]: zeros('U8', [40], 8),
    },
  },
  gptq: {
    method: 'gptq',
    tensors: {
      [`${up}.qweight`]: zeros('I32', [1, 8], 32),
      [`${up}.qzeros`]: zeros('I32', [1, 1], 32),
      [`${up}.scales`]: matrix(1, 1, 8),
      [`${up}.g_idx`]: zeros('I32', [8], 32),
    },
  },
  'compressed-tensors': {
    tensors: { [`${up}.weight_packed`]: zeros('I32', [8, 1], 32), [`${up}.weight_scale`]: matrix(1, 8, 1) },
  },
  MXFP4: { tensors: { [`${up}_blocks`]: zeros('U8', [8, 4], 8), [`${up}_scales`]: zeros('U8', [8], 8), ...plain } },
}

const write = (folder: string, name: string, { tensors, method }: (typeof PACKED)[string]) =>
  writeFolder(path.join(folder, name), {
    'model.safetensors': weights({ ...norm, ...tensors }),
    'config.json': {
      model_type: 'x',
      quantization_config: method ? { quant_method: method, checkpoint_format: 'marlin' } : {},
    },
  })

const merge = (folder: string, text: string) => {
  writeFileSync(path.join(folder, 'r.yaml'), `terge: 1\n${text}\n`)
  return terge(['run', 'r.yaml', '--no-sync'], folder)
}

for (const [scheme, packed] of Object.entries(PACKED))
  test(`${scheme}: no merge from it or onto it`, () =>
    inFolder(async (folder) => {
      write(folder, 'p', packed)
      writeFolder(path.join(folder, 'f'), { 'model.safetensors': weights(plain) })
      const models = 'models:\n  f: ./f\n  p: ./p\nmerge: {method: linear}\noutput: out'
      const onto = await merge(folder, `base: p\n${models}`)
      assert.is(onto.code, 2, onto.err)
      assert.match(onto.err, 'r.yaml:5:3: error packed-weights: the weights of p are packed')
      assert.match(onto.err, `(${scheme};`)
      assert.match(onto.err, 'hint: unpack the model to float16 or bfloat16 first')
      assert.is(onto.err.match(/error /g)!.length, 1)
      if (scheme === 'MXFP4') return
      const from = await merge(folder, models)
      assert.is(from.code, 2, from.err)
      assert.match(from.err, 'r.yaml:4:3: error packed-weights: the weights of p are packed')
      // What is not packed in it may be merged.
      const rest = await merge(folder, `${models}\nfilters: {exclude: "**.up.**"}`)
      assert.is(rest.code, 0, rest.err)
    }))

test('a packed model is copied as it is, and its configuration with it', () =>
  inFolder(async (folder) => {
    write(folder, 'p', PACKED.gptq!)
    const bytes = readFileSync(path.join(folder, 'p/model.safetensors'))
    for (const text of [
      'models: {p: ./p}\nmerge: {method: passthrough}',
      'models: {p: ./p}\nsteps: {s: {stack: [{model: p, layers: [0, 1]}]}}',
    ]) {
      const { code, err } = await merge(folder, `${text}\noutput: {path: out}`)
      assert.is(code, 0, err)
      const out = readFileSync(path.join(folder, 'out/model.safetensors'))
      const data = (file: Buffer) => file.subarray(8 + Number(file.readBigUInt64LE())).length
      assert.is(data(out), data(bytes))
      assert.equal(jsonOf(path.join(folder, 'out'), 'config.json').quantization_config, {
        quant_method: 'gptq',
        checkpoint_format: 'marlin',
      })
      const cast = await merge(folder, `${text}\noutput: {path: other, dtype: bfloat16}`)
      assert.is(cast.code, 2)
      assert.match(cast.err, 'error packed-weights')
      const { rmSync } = await import('node:fs')
      rmSync(path.join(folder, 'out'), { recursive: true })
    }
  }))

test('layers of a packed model and of one that is not make no stack', () =>
  inFolder(async (folder) => {
    write(folder, 'p', PACKED.gptq!)
    writeFolder(path.join(folder, 'f'), { 'model.safetensors': weights(plain) })
    const stack = 'steps: {s: {stack: [{model: f, layers: [0, 1]}, {model: p, layers: [0, 1]}]}}'
    const { code, err } = await merge(folder, `models: {f: ./f, p: ./p}\n${stack}\noutput: out`)
    assert.is(code, 2)
    assert.match(err, 'packed differently (f: not packed; p: gptq)')
  }))

test('plain integers are copied, FP8 without scales is merged, and its old configuration goes', () =>
  inFolder(async (folder) => {
    for (const name of ['a', 'b'])
      writeFolder(path.join(folder, name), {
        'model.safetensors': weights({
          w: f32([4], numbers(4, name.length)),
          ids: zeros('I32', [4], 32),
          mask: zeros('U8', [4], 8),
        }),
      })
    const ints = await merge(folder, 'models: {a: ./a, b: ./b}\nmerge: {method: linear}\noutput: out')
    assert.is(ints.code, 0, ints.err)
    writeFolder(path.join(folder, 'c'), {
      'model.safetensors': weights({ 'w.weight': zeros('F8_E4M3', [4], 8), 'v.weight': matrix(1, 4) }),
      'config.json': { quantization_config: { quant_method: 'fp8' } },
    })
    const fp8 = await merge(
      folder,
      'models: {a: ./c, b: ./c}\nmerge: {method: linear}\noutput: {path: o, dtype: bfloat16}',
    )
    assert.is(fp8.code, 0, fp8.err)
    assert.equal(jsonOf(path.join(folder, 'o'), 'config.json'), { torch_dtype: 'bfloat16' })
  }))

test('inspect shows how a model is packed', () =>
  inFolder(async (folder) => {
    write(folder, 'p', PACKED.gptq!)
    assert.match((await terge(['inspect', 'p'], folder)).out, /^packed {6}gptq$/m)
    assert.equal(JSON.parse((await terge(['inspect', 'p', '--json'], folder)).out).packed, ['gptq'])
  }))

test('files of other formats are named', () =>
  inFolder(async (folder) => {
    writeFolder(folder, { 'g/model.gguf': 'GGUF....................', 'h.h5': '\u0089HDF' })
    for (const model of ['g', 'g/model.gguf']) {
      const { code, err } = await terge(['inspect', model], folder)
      assert.is(code, 2)
      assert.match(err, 'converted for inference')
    }
  }))

test.run()
