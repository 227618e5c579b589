/** Models in an S3 store: planned from ranges, downloaded once, locked and verified. */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { everything, mean, sharded, single } from '../hub/setup.js'
import { matrix, stored } from '../support/adapters.js'
import { safetensors } from '../support/files.js'
import { KEYS, under, withS3 } from './setup.js'

const local = (folder: string, name: string, files: Record<string, Uint8Array>): void => {
  for (const [file, bytes] of Object.entries(files)) {
    mkdirSync(path.dirname(path.join(folder, name, file)), { recursive: true })
    writeFileSync(path.join(folder, name, file), bytes)
  }
}
const big = 1500
const models = () => ({
  bucket: {
    ...under('runs/a (1)+é/', single(1, big)),
    // The console's empty objects for folders, and what lies beside and below the model.
    ...under('runs/a (1)+é/', { '': new Uint8Array(0), 'checkpoint-1/optimizer.pt': Buffer.from('x') }),
    ...under('b/', sharded(2)),
    ...under('a2/', single(3, big)),
  },
})
const A = 's3://bucket/runs/a (1)+é/'

test('plans from ranges, runs, runs again from the cache, and shows no secret anywhere', () =>
  withS3({ buckets: models(), keys: KEYS, page: 2 }, async ({ s3, folder, cache, write, run }) => {
    write('recipe.yml', mean(`"${A}"`, 's3://bucket/a2'))
    const planned = await run(['plan', 'recipe.yml', '--json'])
    assert.is(planned.code, 0, planned.err)
    const size = single(1, big)['model.safetensors']!.length
    assert.ok(s3.sent() < size, `${s3.sent()} bytes for a plan of two models with ${size} bytes each`)
    assert.ok(s3.seen.every(({ url, headers }) => url.includes('list-type') || headers['if-match'] !== undefined))

    const ran = await run(['run', 'recipe.yml'])
    assert.is(ran.code, 0, ran.err)
    assert.not.match(ran.err, 's3-unverified')
    local(folder, 'a', single(1, big))
    local(folder, 'b', single(3, big))
    write('local.yml', mean('./a', './b'))
    const same = await run(['run', 'local.yml', '-o', 'same'])
    assert.is(same.code, 0, same.err)
    const [got, wanted] = ['out', 'same'].map((name) => readFileSync(path.join(folder, name, 'model.safetensors')))
    assert.ok(got!.equals(wanted!))
    assert.is(readFileSync(path.join(folder, 'out/tokenizer.json'), 'utf8'), '{"version": "1.0"}')

    const lineage = JSON.parse(readFileSync(path.join(folder, 'out/lineage.json'), 'utf8'))
    assert.is(lineage.models.a.reference, A)
    assert.match(lineage.models.a.revision, /^[0-9a-f]{40}$/)
    assert.match(lineage.models.a.files[0].etag, /^[0-9a-f]{32}$/)
    const sent = s3.sent()
    const again = await run(['run', 'recipe.yml', '-o', 'again'])
    assert.is(again.code, 0, again.err)
    assert.is(s3.sent(), sent, 'nothing is downloaded twice')
    const verified = await run(['verify', 'out/lineage.json'])
    assert.is(verified.code, 0, verified.err)
    assert.not.match(verified.err, 'input-unchecked')

    const host = new URL(s3.url).host
    const written = [planned, ran, again, verified].flatMap(({ out, err }) => [out, err])
    const kept = [everything(folder), everything(cache)].flatMap(({ names, text }) => [...names, text])
    const events = await run(['run', 'recipe.yml', '-o', 'third', '--json'])
    const report = await run(['report', 'out/lineage.json'])
    for (const text of [...written, ...kept, events.out, events.err, report.out, report.err])
      for (const secret of [KEYS.secret, KEYS.id, host, 'AWS4-HMAC']) assert.not.ok(text.includes(secret), secret)
  }))

test('single files, subfolders, adapters and statistics of the command line and of recipes', () => {
  const base = {
    'config.json': Buffer.from('{"model_type": "test"}'),
    'model.safetensors': safetensors({ 'layers.0.q.weight': stored(matrix([96, 64], 1)) }),
  }
  const adapter = {
    'adapter_config.json': Buffer.from(JSON.stringify({ peft_type: 'LORA', r: 4, lora_alpha: 8 })),
    'adapter_model.safetensors': safetensors({
      'base_model.model.layers.0.q.lora_A.weight': stored(matrix([4, 64], 2)),
      'base_model.model.layers.0.q.lora_B.weight': stored(matrix([96, 4], 3)),
    }),
  }
  const bucket = {
    ...under('m/base/', base),
    ...under('m/lora/', adapter),
    ...under('n/', single(1)),
    ...under('o/', single(2)),
  }
  return withS3({ buckets: { bucket } }, async ({ folder, write, run }) => {
    local(
      folder,
      '.',
      Object.fromEntries(
        Object.entries({ base, adapter }).flatMap(([name, files]) =>
          Object.entries(files).map(([file, bytes]) => [`${name}/${file}`, bytes]),
        ),
      ),
    )
    const recipe = (model: string, lora: string) =>
      `terge: 1\nmodels: {m: {${model}, lora: "${lora}"}}\nmerge: {method: passthrough}\noutput: out\n`
    write('local.yml', recipe('path: base', 'adapter'))
    assert.is((await run(['run', 'local.yml', '-o', 'local'])).code, 0)
    const wanted = readFileSync(path.join(folder, 'local/model.safetensors'))
    for (const [model, lora] of [
      ['path: "s3://bucket/m", subfolder: base', 's3://bucket/m/lora/'],
      ['path: "s3://bucket/m/base/"', 's3://bucket/m/lora/adapter_model.safetensors'],
    ] as const) {
      write('recipe.yml', recipe(model, lora))
      const ran = await run(['run', 'recipe.yml', '--force'])
      assert.is(ran.code, 0, ran.err)
      assert.ok(readFileSync(path.join(folder, 'out/model.safetensors')).equals(wanted))
      const verified = await run(['verify', 'out/lineage.json'])
      assert.is(verified.code, 0, verified.err)
      assert.not.match(verified.err, 'input-unchecked')
    }
    const one = 's3://bucket/n/model.safetensors'
    const inspected = await run(['inspect', one])
    assert.is(inspected.code, 0, inspected.err)
    assert.match(inspected.out, 'layers.0.w')
    assert.is((await run(['diff', one, 's3://bucket/n'])).code, 0)
    assert.is((await run(['diff', one, 's3://bucket/o/model.safetensors'])).code, 0)
    const merged = await run([
      'merge',
      '--method',
      'linear',
      one,
      's3://bucket/o/model.safetensors',
      '-o',
      'm.safetensors',
    ])
    assert.is(merged.code, 0, merged.err)
    const verified = await run(['verify', 'm.safetensors'])
    assert.is(verified.code, 0, verified.err)
    assert.not.match(verified.err, 'input-unchecked')
  })
})

test('pipelines are listed with their folders', () => {
  const json = (value: unknown) => Buffer.from(JSON.stringify(value))
  const pipeline = (seed: number) => ({
    'model_index.json': json({ unet: ['diffusers', 'U'], scheduler: ['diffusers', 'S'] }),
    'unet/config.json': json({ size: 8 }),
    'unet/diffusion_pytorch_model.safetensors': safetensors({ 'a.weight': stored(matrix([40, 40], seed)) }),
    'scheduler/scheduler_config.json': json({ steps: 5 }),
  })
  const bucket = { ...under('p/', pipeline(1)), ...under('q/', pipeline(2)) }
  return withS3({ buckets: { bucket }, page: 1 }, async ({ folder, write, run }) => {
    write('recipe.yml', mean('s3://bucket/p', 's3://bucket/q'))
    const ran = await run(['run', 'recipe.yml'])
    assert.is(ran.code, 0, ran.err)
    assert.ok(existsSync(path.join(folder, 'out/unet/diffusion_pytorch_model.safetensors')))
    assert.ok(existsSync(path.join(folder, 'out/scheduler/scheduler_config.json')))
    assert.is((await run(['verify', 'out/lineage.json'])).code, 0)
  })
})

test('a lock pins ETags and digests, and a locked run refuses other objects before it downloads them', () =>
  withS3(
    { buckets: models(), keys: { ...KEYS, token: 'session/token+==' } },
    async ({ s3, folder, cache, write, run }) => {
      write('recipe.yml', mean(`"${A}"`, 's3://bucket/a2'))
      const made = await run(['lock', 'recipe.yml'])
      assert.is(made.code, 0, made.err)
      const lock = JSON.parse(readFileSync(path.join(folder, 'recipe.yml.lock'), 'utf8'))
      assert.match(lock.models.a.files[0].etag, /^[0-9a-f]{32}$/)
      rmSync(cache, { recursive: true })
      const ran = await run(['run', 'recipe.yml', '--locked'])
      assert.is(ran.code, 0, ran.err)
      rmSync(cache, { recursive: true })
      rmSync(path.join(folder, 'out'), { recursive: true })
      // Other objects beside the files of the model do not count.
      const { bucket } = models()
      s3.options = { ...s3.options, buckets: { bucket: { ...bucket, 'a2/events.out': { bytes: Buffer.from('x') } } } }
      const more = await run(['run', 'recipe.yml', '--locked', '-o', 'more'])
      assert.is(more.code, 0, more.err)
      rmSync(cache, { recursive: true })
      // Another object of the same size.
      const before = s3.sent()
      s3.options = { ...s3.options, buckets: { bucket: { ...bucket, ...under('a2/', single(9, big)) } } }
      const other = await run(['run', 'recipe.yml', '--locked'])
      assert.is(other.code, 2)
      assert.match(other.err, /lock-differs: b: model\.safetensors has another ETag in the store than in the lock/)
      assert.ok(s3.sent() - before < single(1, big)['model.safetensors']!.length)
      assert.not.ok(existsSync(path.join(folder, 'out')))
    },
  ))

test('a digest that the recipe or the lock gives is checked where the store publishes none', () => {
  const etag = '0123456789abcdef0123456789abcdef-3'
  const bytes = single(1)['model.safetensors']!
  const options = {
    buckets: { bucket: { 'a/model.safetensors': { bytes, etag }, 'b/model.safetensors': { bytes, etag } } },
  }
  return withS3(options, async ({ s3, folder, cache, write, run }) => {
    write('recipe.yml', mean('s3://bucket/a', 's3://bucket/b'))
    const planned = await run(['plan', 'recipe.yml'])
    assert.match(
      planned.err,
      /recipe\.yml:3:6: warning s3-unverified: s3:\/\/bucket\/a: .*model\.safetensors: terge checks only the length/,
    )
    assert.is((await run(['lock', 'recipe.yml'])).code, 0)
    rmSync(cache, { recursive: true })
    const locked = await run(['run', 'recipe.yml', '--locked'])
    assert.is(locked.code, 0, locked.err)
    assert.not.match(locked.err, 's3-unverified')
    rmSync(cache, { recursive: true })
    rmSync(path.join(folder, 'out'), { recursive: true })
    const wrong = Buffer.from(bytes)
    wrong[wrong.length - 1]! ^= 64
    s3.options = { buckets: { bucket: { ...options.buckets.bucket, 'b/model.safetensors': { bytes: wrong, etag } } } }
    const refused = await run(['run', 'recipe.yml', '--locked'])
    assert.is(refused.code, 1)
    assert.match(
      refused.err,
      /recipe\.yml:4:6: error s3-digest: .*model\.safetensors was downloaded twice, both times with a different digest than expected/,
    )
    assert.not.ok(existsSync(path.join(folder, 'out')))
    assert.not.ok(
      readdirSync(cache, { recursive: true, encoding: 'utf8' }).some((name) => name.endsWith('.incomplete')),
    )
  })
})

test.run()
