/** Locks: their contents, runs that use exactly these, and errors that name differences. */
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { Ajv } from 'ajv'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { lockText, parseLock } from '../../src/lineage/lock.js'
import { faultOf } from '../checkpoints/helpers.js'
import { sha256 } from './server.js'
import { FIRST, mean, repository, SECOND, sharded, single, two, withHub } from './setup.js'

const schema = JSON.parse(
  readFileSync(fileURLToPath(new URL('../../../schemas/lock.v1.schema.json', import.meta.url)), 'utf8'),
)
// Not a type guard: values that do not fit are checked too.
const fits: ((value: unknown) => boolean) & { errors?: unknown } = new Ajv({ strict: true }).compile(schema)

/** A model on the hub, and a local one. */
const RECIPE = mean('hf:org/a', './b')

const local = (folder: string): string => {
  mkdirSync(path.join(folder, 'b'))
  for (const [name, bytes] of Object.entries(sharded(2))) writeFileSync(path.join(folder, 'b', name), bytes)
  return path.join(folder, 'b')
}

const moved = { ...two(), 'org/a': { commits: { [FIRST]: single(1), [SECOND]: single(9) }, refs: { main: SECOND } } }

test('a lock has commits, files, sizes and digests, and a run with it uses exactly these', () =>
  withHub({ repositories: two() }, async ({ hub, folder, cache, write, run }) => {
    local(folder)
    write('recipe.yml', RECIPE)
    const missing = await run(['run', 'recipe.yml', '--locked'])
    assert.is(missing.code, 2)
    assert.match(missing.err, /error missing-lock: [\s\S]*terge lock/)

    const made = await run(['lock', 'recipe.yml'])
    assert.is(made.code, 0, made.err)
    assert.match(made.out, 'wrote recipe.yml.lock: 2 models, 7 files')
    const text = readFileSync(path.join(folder, 'recipe.yml.lock'), 'utf8')
    const lock = JSON.parse(text)
    assert.ok(fits(lock), JSON.stringify(fits.errors))
    assert.is(lockText(parseLock(text, 'x')), text)
    assert.is(lock.models.a.commit, FIRST)
    assert.is(lock.models.b.commit, undefined)
    for (const [name, files] of [
      ['a', single(1)],
      ['b', sharded(2)],
    ] as const)
      for (const file of lock.models[name].files) {
        assert.is(file.sha256, `sha256:${sha256(files[file.name as keyof typeof files]!)}`)
        assert.is(file.size, files[file.name as keyof typeof files]!.length)
      }
    assert.equal(
      lock.models.a.files.map(({ name }: { name: string }) => name),
      ['model.safetensors', 'config.json', 'tokenizer.json'],
    )

    // The branch moves and the cache is lost: the locked commit is downloaded.
    hub.options = { repositories: moved }
    rmSync(cache, { recursive: true })
    const ran = await run(['run', 'recipe.yml', '--locked'])
    assert.is(ran.code, 0, ran.err)
    const lineage = JSON.parse(readFileSync(path.join(folder, 'out/lineage.json'), 'utf8'))
    assert.is(lineage.models.a.revision, FIRST)
    assert.equal(
      lineage.models.a.files.map(({ digest }: { digest: string }) => digest),
      [lock.models.a.files[0].digest],
    )

    // Without the cache, the lock still says what was merged.
    rmSync(cache, { recursive: true })
    const verified = await run(['verify', 'out/lineage.json'])
    assert.is(verified.code, 0, verified.err)
    assert.match(verified.err, 'input-unchecked')
    lock.models.a.files[0].digest = lock.models.b.files[0].digest
    write('recipe.yml.lock', JSON.stringify(lock))
    const differs = await run(['verify', 'out/lineage.json'])
    assert.is(differs.code, 1)
    assert.match(differs.err, 'error lock-differs: a: model.safetensors')
  }))

test('reports differences from the lock and writes nothing', () =>
  withHub({ repositories: two() }, async ({ hub, folder, write, run }) => {
    const b = local(folder)
    write('recipe.yml', RECIPE)
    assert.is((await run(['lock', 'recipe.yml'])).code, 0)
    const shard = path.join(b, 'model-00002-of-00002.safetensors')
    const right = readFileSync(shard)

    const wrong = Buffer.from(right)
    wrong[wrong.length - 3]! ^= 1
    writeFileSync(shard, wrong)
    const bytes = await run(['run', 'recipe.yml', '--locked'])
    assert.is(bytes.code, 1)
    assert.match(
      bytes.err,
      /recipe\.yml:4:6: error lock-differs: b: model-00002-of-00002\.safetensors differs from the lock/,
    )
    assert.not.ok(existsSync(path.join(folder, 'out')))
    assert.is((await run(['run', 'recipe.yml', '-o', 'free'])).code, 0)
    writeFileSync(shard, right)

    writeFileSync(path.join(b, 'config.json'), '{"seed": 3}')
    writeFileSync(path.join(b, 'merges.txt'), 'x')
    rmSync(path.join(b, 'tokenizer.json'))
    write(
      'other.yml',
      `${RECIPE.replace('hf:org/a', 'hf:org/b@main').replace('output: out', 'output: {path: out, from: merged}')}`,
    )
    const files = await run(['run', 'recipe.yml', '--locked'])
    assert.is(files.code, 2)
    for (const said of [
      /b: config\.json has 11 bytes, but \d+ in the lock/,
      /b: tokenizer\.json is in the lock but not in the model/,
      /b: merges\.txt is in the model but not in the lock/,
    ])
      assert.match(files.err, said)

    // The hub publishes different files under the locked commit.
    hub.options = {
      repositories: {
        ...two(),
        'org/a': repository({ ...single(1), 'model.safetensors': single(9)['model.safetensors']! }),
      },
    }
    write('recipe.yml', RECIPE.replace('b: ./b', 'c: hf:org/b'))
    const other = await run(['run', 'recipe.yml', '--locked'], { HF_HOME: path.join(folder, 'fresh') })
    assert.is(other.code, 2)
    assert.match(
      other.err,
      /recipe\.yml:3:6: error lock-differs: a: model\.safetensors has another digest on the hub than in the lock/,
    )
    assert.match(other.err, /error lock-differs: the model c is not in the lock/)

    write('recipe.yml', RECIPE.replace('hf:org/a', 'hf:org/a@v2'))
    assert.match(
      (await run(['run', 'recipe.yml', '--locked'])).err,
      'a: the reference is hf:org/a@v2 in the recipe and hf:org/a in the lock',
    )
    const both = await run(['run', 'recipe.yml', '--locked', '--no-digests'])
    assert.is(both.code, 2)
  }))

test('reports every error of an invalid lock', () => {
  const good = {
    lock: 1,
    terge: '1',
    models: {
      a: {
        reference: 'x',
        files: [{ name: 'f', size: 1, sha256: `sha256:${'0'.repeat(64)}`, digest: 'xxh3t:00000000' }],
      },
    },
  }
  assert.ok(parseLock(JSON.stringify(good), 'x'))
  assert.ok(fits(good))
  const file = good.models.a.files[0]!
  for (const bad of [
    [],
    null,
    { ...good, lock: 2 },
    { ...good, more: 1 },
    { ...good, models: { a: { ...good.models.a, commit: 'main' } } },
    { ...good, models: { a: { ...good.models.a, files: [{ ...file, size: -1 }] } } },
    { ...good, models: { a: { ...good.models.a, files: [{ ...file, sha256: 'x' }] } } },
    { ...good, models: { a: { ...good.models.a, files: [{ ...file, digest: null }] } } },
  ]) {
    assert.is(faultOf(() => parseLock(JSON.stringify(bad), 'x')).code, 'bad-lock', JSON.stringify(bad))
    assert.not.ok(fits(bad))
  }
  assert.is(faultOf(() => parseLock('{', 'x')).code, 'bad-lock')
  assert.is(
    faultOf(() =>
      parseLock(
        JSON.stringify({ ...good, models: { a: { ...good.models.a, files: [{ ...file, name: '../f' }] } } }),
        'x',
      ),
    ).code,
    'bad-lock',
  )
})

test.run()
