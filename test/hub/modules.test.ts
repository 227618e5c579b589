/** Pipelines on the hub: planned from headers and small files, then locked and used offline. */
import { readFileSync, rmSync } from 'node:fs'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { matrix } from '../commands/families.js'
import { safetensors } from '../support/files.js'
import { mean, repository, withHub } from './setup.js'

const json = (value: unknown) => Buffer.from(JSON.stringify(value))

const pipeline = (seed: number): Record<string, Uint8Array> => ({
  'model_index.json': json({
    unet: ['diffusers', 'U'],
    text_encoder: ['transformers', 'T'],
    scheduler: ['diffusers', 'S'],
    image_encoder: [null, null],
  }),
  'unet/config.json': json({ size: 8 }),
  'unet/diffusion_pytorch_model-00001-of-00002.safetensors': safetensors({ 'a.weight': matrix(seed, 40, 40) }),
  'unet/diffusion_pytorch_model-00002-of-00002.safetensors': safetensors({ 'b.weight': matrix(seed + 1, 40, 40) }),
  'unet/diffusion_pytorch_model.safetensors.index.json': json({
    weight_map: {
      'a.weight': 'diffusion_pytorch_model-00001-of-00002.safetensors',
      'b.weight': 'diffusion_pytorch_model-00002-of-00002.safetensors',
    },
  }),
  'text_encoder/config.json': json({}),
  'text_encoder/model.safetensors': safetensors({ 't.weight': matrix(seed + 2, 4) }),
  'scheduler/scheduler_config.json': json({ steps: 5 }),
})

test('merges a pipeline from the hub, locks it, and merges it again offline', () =>
  withHub({ repositories: { 'org/a': repository(pipeline(1)), 'org/b': repository(pipeline(11)) } }, async (bench) => {
    const { run, write, folder, cache } = bench
    write('r.yml', mean('hf:org/a', 'hf:org/b'))
    const planned = await run(['plan', 'r.yml', '--json'])
    assert.is(planned.code, 0, planned.err)
    const [output] = JSON.parse(planned.out).outputs
    assert.equal(output.tensors.map(({ name }: { name: string }) => name).sort(), [
      'text_encoder.t.weight',
      'unet.a.weight',
      'unet.b.weight',
    ])
    const first = await run(['run', 'r.yml', '--no-sync'])
    assert.is(first.code, 0, first.err)
    const read = (name: string) => readFileSync(path.join(folder, 'out', name))
    const unet = read('unet/diffusion_pytorch_model.safetensors')
    assert.equal(JSON.parse(read('scheduler/scheduler_config.json').toString()), { steps: 5 })
    assert.match(read('README.md').toString(), 'base_model:\n  - "org/a"\n  - "org/b"')
    assert.is((await run(['lock', 'r.yml'])).code, 0)
    const offline = await run(['run', 'r.yml', '--no-sync', '--force', '--locked'], { HF_HUB_OFFLINE: '1' })
    assert.is(offline.code, 0, offline.err)
    assert.equal(read('unet/diffusion_pytorch_model.safetensors'), unet)
    const verified = await run(['verify', 'out/lineage.json'], { HF_HUB_OFFLINE: '1' })
    assert.is(verified.code, 0, verified.err)
    // A module that is not in the cache is downloaded again, and missing offline.
    const snapshot = path.join(cache, 'models--org--b/snapshots')
    const [commit] = Object.keys(bench.hub.options.repositories['org/b']!.commits)
    rmSync(path.join(snapshot, commit!, 'text_encoder'), { recursive: true })
    const lacking = await run(['validate', 'r.yml'], { HF_HUB_OFFLINE: '1' })
    assert.is(lacking.code, 2)
    assert.match(lacking.out + lacking.err, 'error hub-offline')
    const again = await run(['run', 'r.yml', '--no-sync', '--force', '--locked'])
    assert.is(again.code, 0, again.err)
  }))

test.run()
