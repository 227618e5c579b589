/** Models of several modules: pipelines in folders, and files that lie beside each other. */

import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { inFolder } from '../support/files.js'
import { terge } from '../support/terge.js'
import { jsonOf, matrix, valuesOf, weights, writeFolder } from './families.js'

const run = (folder: string, text: string, ...flags: string[]) => {
  writeFileSync(path.join(folder, 'r.yaml'), `terge: 1\n${text}\n`)
  return terge(['run', 'r.yaml', '--no-sync', ...flags], folder)
}

const pipeline = (seed: number) => ({
  'model_index.json': {
    _class_name: 'Pipeline',
    unet: ['diffusers', 'UNet'],
    vae: ['diffusers', 'AutoencoderKL'],
    text_encoder: ['transformers', 'CLIPTextModel'],
    scheduler: ['diffusers', 'Scheduler'],
    safety_checker: [null, null],
  },
  'pipeline.safetensors': weights({ 'the.same.once.more': matrix(seed, 4) }),
  'unet/config.json': { sample_size: 8 },
  'unet/diffusion_pytorch_model.safetensors': weights({
    'in.weight': matrix(seed, 20, 20),
    'mid.0.weight': matrix(seed + 1, 20, 20),
  }),
  'unet/diffusion_pytorch_model.fp16.safetensors': weights({ 'in.weight': matrix(seed, 1) }),
  'vae/config.json': {},
  'vae/diffusion_pytorch_model.safetensors': weights({ 'in.weight': matrix(seed + 2, 4) }),
  'text_encoder/config.json': { torch_dtype: 'float32' },
  'text_encoder/model.safetensors': weights({ 'text_model.weight': matrix(seed + 3, 4) }),
  'scheduler/scheduler_config.json': { steps: 5 },
})

test('a pipeline is all of its modules, and is written as one', () =>
  inFolder(async (folder) => {
    writeFolder(path.join(folder, 'a'), pipeline(1))
    writeFolder(path.join(folder, 'b'), pipeline(11))
    const text = 'models: {a: ./a, b: ./b}\nfilters: {include: ["unet.**", "text_encoder.**"]}\nmerge: {method: linear}'
    const { code, err } = await run(folder, `${text}\noutput: {path: out, shard_size: 2KB}`)
    assert.is(code, 0, err)
    const out = path.join(folder, 'out')
    assert.equal((readdirSync(out, { recursive: true }) as string[]).filter((name) => /\.\w+$/.test(name)).sort(), [
      'README.md',
      'lineage.json',
      'model_index.json',
      'scheduler/scheduler_config.json',
      'text_encoder/config.json',
      'text_encoder/model.safetensors',
      'unet/config.json',
      'unet/diffusion_pytorch_model-00001-of-00002.safetensors',
      'unet/diffusion_pytorch_model-00002-of-00002.safetensors',
      'unet/diffusion_pytorch_model.safetensors.index.json',
      'vae/config.json',
      'vae/diffusion_pytorch_model.safetensors',
    ])
    assert.equal(jsonOf(out, 'unet/diffusion_pytorch_model.safetensors.index.json'), {
      metadata: { total_size: 3200 },
      weight_map: {
        'in.weight': 'diffusion_pytorch_model-00001-of-00002.safetensors',
        'mid.0.weight': 'diffusion_pytorch_model-00002-of-00002.safetensors',
      },
    })
    const file = (model: string, name: string) => path.join(folder, model, name)
    const own = ['a', 'b'].map((model) =>
      valuesOf(file(model, 'unet/diffusion_pytorch_model.safetensors'), 'mid.0.weight'),
    )
    const made = valuesOf(file('out', 'unet/diffusion_pytorch_model-00002-of-00002.safetensors'), 'mid.0.weight')
    assert.equal(
      made,
      own[0]!.map((value, at) => Math.fround((value + own[1]![at]!) / 2)),
    )
    const vae = 'vae/diffusion_pytorch_model.safetensors'
    assert.equal(valuesOf(file('out', vae), 'in.weight'), valuesOf(file('a', vae), 'in.weight'))
    assert.match(readFileSync(file('out', 'README.md'), 'utf8'), 'library_name: diffusers')
    const verified = await terge(['verify', 'out/lineage.json', '--reproduce'], folder)
    assert.is(verified.code, 0, verified.err)
    const cast = await run(folder, `${text}\noutput: {path: out, dtype: float16}`, '--force')
    assert.is(cast.code, 0, cast.err)
    assert.equal(jsonOf(out, 'text_encoder/config.json'), { torch_dtype: 'float16' })
    assert.equal(jsonOf(out, 'unet/config.json'), { sample_size: 8 })
  }))

test('one module alone is a model too', () =>
  inFolder(async (folder) => {
    writeFolder(path.join(folder, 'a'), pipeline(1))
    const whole = JSON.parse((await terge(['inspect', 'a', '--json'], folder)).out)
    assert.equal(whole.modules, ['unet', 'vae', 'text_encoder'])
    const part = '{path: ./a, subfolder: unet}'
    const { code, err } = await run(folder, `models: {a: ${part}, b: ${part}}\nmerge: {method: linear}\noutput: out`)
    assert.is(code, 0, err)
    assert.equal(jsonOf(path.join(folder, 'out'), 'config.json'), { sample_size: 8 })
  }))

test('modules that are not there, or not inside', () =>
  inFolder(async (folder) => {
    const cases: [string, object, string][] = [
      ['a', { 'model_index.json': { unet: ['d', 'U'] } }, 'missing-module'],
      ['b', { 'model_index.json': { '../up': ['d', 'U'] } }, 'path-escape'],
      ['c', { 'model_index.json': { unet: ['d', 'U'] }, 'unet/config.json': {} }, 'no-weights'],
      ['d', { 'model_index.json': [] }, 'bad-config'],
      ['e', { 'modules.json': [{ path: 'x/../../y' }] }, 'path-escape'],
      ['f', { 'modules.json': [{ path: '1_Pooling' }], '1_Pooling/config.json': {} }, 'no-weights'],
    ]
    for (const [name, files, code] of cases) {
      writeFolder(path.join(folder, name), files as Parameters<typeof writeFolder>[1])
      const ran = await terge(['inspect', name], folder)
      assert.is(ran.code, 2, name)
      assert.match(ran.err, `error ${code}`)
    }
    writeFolder(path.join(folder, 'pipe'), { ...pipeline(1), 'unet/config.json': [] })
    assert.match((await terge(['inspect', 'pipe'], folder)).err, 'error bad-config: pipe/unet/config.json: ')
  }))

test('sentence-transformers: the first module lies in the folder itself', () =>
  inFolder(async (folder) => {
    for (const [seed, name] of ['a', 'b'].entries())
      writeFolder(path.join(folder, name), {
        'modules.json': [{ path: '' }, { path: '1_Pooling' }, { path: '2_Dense' }, { path: '3_Normalize' }],
        'config.json': { model_type: 'bert', torch_dtype: 'float32' },
        'model.safetensors': weights({ 'embeddings.weight': matrix(seed, 4, 4) }),
        '1_Pooling/config.json': { pooling: 'mean' },
        '2_Dense/config.json': { out: 4 },
        '2_Dense/model.safetensors': weights({ 'linear.weight': matrix(seed + 5, 4, 4) }),
      })
    const { code, err } = await run(folder, 'models: {a: ./a, b: ./b}\nmerge: {method: linear}\noutput: out')
    assert.is(code, 0, err)
    const inspected = await terge(['inspect', 'out', '--json'], folder)
    assert.equal(
      JSON.parse(inspected.out).list.map(({ name }: { name: string }) => name),
      ['2_Dense.linear.weight', 'embeddings.weight'],
    )
    assert.equal(jsonOf(path.join(folder, 'out'), '1_Pooling/config.json'), { pooling: 'mean' })
    assert.equal(jsonOf(path.join(folder, 'out'), 'config.json').model_type, 'bert')
  }))

test('of files that hold the same once more one is taken; files that hold different tensors are all taken', () =>
  inFolder(async (folder) => {
    const one = weights({ a: matrix(1, 4) })
    const index = (file: string) => ({ weight_map: { a: file } })
    const chosen: [object, string[]][] = [
      [{ 'model-1.safetensors': one, 'consolidated.safetensors': one }, ['model-1.safetensors']],
      [{ 'consolidated.safetensors': one }, ['consolidated.safetensors']],
      [{ 'model.fp16.safetensors': one, 'other.safetensors': one }, ['other.safetensors']],
      [{ 'model.fp16.safetensors': one }, ['model.fp16.safetensors']],
      [{ 'adapter_model.safetensors': one, 'mine.safetensors': one }, ['mine.safetensors']],
      [
        {
          'model.safetensors.index.json': index('x.safetensors'),
          'model.safetensors.index.fp16.json': index('y.safetensors'),
          'consolidated.safetensors.index.json': index('y.safetensors'),
          'x.safetensors': one,
          'y.safetensors': one,
        },
        ['x.safetensors'],
      ],
      [
        { 'text.safetensors': one, 'vision.safetensors': weights({ b: matrix(1, 4) }) },
        ['text.safetensors', 'vision.safetensors'],
      ],
    ]
    for (const [at, [files, names]] of chosen.entries()) {
      writeFolder(path.join(folder, String(at)), files as Parameters<typeof writeFolder>[1])
      const { code, out, err } = await terge(['inspect', `./${at}`, '--json'], folder)
      assert.is(code, 0, err)
      assert.equal(
        JSON.parse(out).files.map(({ name }: { name: string }) => name),
        names,
      )
    }
    writeFolder(path.join(folder, 'other'), { 'modules.json': { js: 1 }, 'model.safetensors': one })
    assert.is((await terge(['inspect', './other'], folder)).code, 0)
    writeFolder(path.join(folder, 'two'), { 'epoch1.safetensors': one, 'epoch2.safetensors': one })
    writeFolder(path.join(folder, 'part'), { 'model-00001-of-00002.safetensors': one })
    for (const name of ['two', 'part']) {
      const { code, err } = await terge(['inspect', `./${name}`], folder)
      assert.is(code, 2)
      assert.match(err, 'error ambiguous-checkpoint')
    }
  }))

test.run()
