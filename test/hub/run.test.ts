/** Models on the hub with the real command: which files are downloaded, where to, and what is used from the cache. */
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, readlinkSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { sha256 } from './server.js'
import { FIRST, mean, repository, SECOND, sharded, single, two, withHub } from './setup.js'

const HUB = mean('hf:org/a@main', '{hub: org/b, revision: main}')

test('models from the hub give the same bytes as local files', () =>
  withHub({ repositories: two(), page: 2 }, async ({ hub, folder, cache, write, run }) => {
    write('recipe.yml', HUB)
    const ran = await run(['run', 'recipe.yml', '--json'])
    assert.is(ran.code, 0, ran.err)
    assert.match(ran.err, /"step":"fetch".*downloaded .*"fraction":1/)
    for (const [name, files] of [
      ['a', single(1)],
      ['b', sharded(2)],
    ] as const) {
      mkdirSync(path.join(folder, name))
      for (const [file, bytes] of Object.entries(files)) writeFileSync(path.join(folder, name, file), bytes)
    }
    write('local.yml', mean('a', 'b'))
    assert.is((await run(['run', 'local.yml', '-o', 'local'])).code, 0)
    for (const name of ['model.safetensors', 'config.json', 'tokenizer.json'])
      assert.equal(readFileSync(path.join(folder, 'out', name)), readFileSync(path.join(folder, 'local', name)), name)

    const lineage = JSON.parse(readFileSync(path.join(folder, 'out/lineage.json'), 'utf8'))
    assert.is(lineage.models.a.reference, 'hf:org/a@main')
    assert.is(lineage.models.a.revision, FIRST)
    assert.is(lineage.models.b.revision, FIRST)

    const repo = path.join(cache, 'models--org--b')
    assert.is(readFileSync(path.join(repo, 'refs/main'), 'utf8'), FIRST)
    const shard = path.join(repo, 'snapshots', FIRST, 'model-00001-of-00002.safetensors')
    const digest = sha256(sharded(2)['model-00001-of-00002.safetensors']!)
    assert.is(readlinkSync(shard), path.join('..', '..', 'blobs', digest))
    assert.equal(
      readdirSync(path.join(repo, 'blobs')).filter((name) => name.includes('.')),
      [],
    )

    // The second time nothing is downloaded, online or offline.
    const before = hub.sent()
    assert.is((await run(['run', 'recipe.yml', '-o', 'again'])).code, 0)
    assert.is(hub.sent(), before)
    const asked = hub.seen.length
    const offline = await run(['run', 'recipe.yml', '-o', 'offline'], { HF_HUB_OFFLINE: '1' })
    assert.is(offline.code, 0, offline.err)
    assert.is(hub.seen.length, asked)
    assert.equal(
      readFileSync(path.join(folder, 'offline/lineage.json')),
      readFileSync(path.join(folder, 'out/lineage.json')),
    )

    const verified = await run(['verify', 'out/lineage.json', '--reproduce'], { HF_HUB_OFFLINE: '1' })
    assert.is(verified.code, 0, verified.err)
    assert.not.match(verified.err, 'input-unchecked')
  }))

test('planning needs only headers, also for its errors', () =>
  withHub(
    {
      repositories: {
        'org/a': repository(single(1, 20_000)),
        'org/b': repository(single(2, 20_000)),
      },
    },
    async ({ hub, cache, write, run }) => {
      write('recipe.yml', `${HUB}filters: {include: layers.2.w}\n`)
      const bad = await run(['validate', 'recipe.yml'])
      assert.is(bad.code, 2)
      assert.match(bad.err, 'recipe.yml:7:')
      write('good.yml', HUB.replace('output: out', 'output: {path: out, dtype: bf16}'))
      const planned = await run(['plan', 'good.yml', '--json'])
      assert.is(planned.code, 0, planned.err)
      assert.is(JSON.parse(planned.out).models[0].revision, FIRST)
      const whole = 2 * 20_000 * 64 * 4
      assert.ok(hub.sent() < whole / 8, `${hub.sent()} bytes of ${whole} were sent`)
      assert.not.ok(existsSync(path.join(cache, 'models--org--a/snapshots', FIRST, 'model.safetensors')))
      assert.ok(existsSync(path.join(cache, 'models--org--a/snapshots', FIRST, 'tokenizer.json')))
    },
  ))

test('a revision is a branch, a tag with a slash or a commit; a subfolder can hold a model', () =>
  withHub(
    {
      repositories: {
        'org/a': {
          commits: {
            [FIRST]: single(1),
            [SECOND]: Object.fromEntries(Object.entries(sharded(3)).map(([name, bytes]) => [`deep/er/${name}`, bytes])),
          },
          refs: { main: FIRST, 'refs/pr/1': SECOND },
        },
      },
    },
    async ({ cache, folder, write, run }) => {
      write('recipe.yml', mean(`hf:org/a@${FIRST}`, '{hub: org/a, revision: refs/pr/1, subfolder: deep/er}'))
      const ran = await run(['run', 'recipe.yml'])
      assert.is(ran.code, 0, ran.err)
      const lineage = JSON.parse(readFileSync(path.join(folder, 'out/lineage.json'), 'utf8'))
      assert.is(lineage.models.b.revision, SECOND)
      assert.is(readFileSync(path.join(cache, 'models--org--a/refs/refs/pr/1'), 'utf8'), SECOND)
      assert.equal(readdirSync(path.join(cache, 'models--org--a/refs')), ['refs'])
      const verified = await run(['verify', 'out/lineage.json'])
      assert.is(verified.code, 0, verified.err)
      assert.not.match(verified.err, 'input-')
      const inspected = await run(['inspect', 'hf:org/a', '--json'])
      assert.is(inspected.code, 0, inspected.err)
    },
  ))

test('uses a model that another library put into the cache, online and offline', () =>
  withHub({ repositories: {} }, async ({ hub, cache, write, run }) => {
    for (const [name, files] of [
      ['a', single(1)],
      ['b', sharded(2)],
    ] as const) {
      const repo = path.join(cache, `models--org--${name}`)
      const snapshot = path.join(repo, 'snapshots', FIRST)
      mkdirSync(snapshot, { recursive: true })
      mkdirSync(path.join(repo, 'refs'))
      writeFileSync(path.join(repo, 'refs/main'), FIRST)
      for (const [file, bytes] of Object.entries(files)) writeFileSync(path.join(snapshot, file), bytes)
    }
    write('recipe.yml', HUB)
    const ran = await run(['run', 'recipe.yml'])
    assert.is(ran.code, 0, ran.err)
    assert.match(ran.err, 'warning hub-not-asked')
    assert.match(ran.err, FIRST)
    // A commit never changes, so the hub is not asked.
    const asked = hub.seen.length
    write('pinned.yml', mean(`hf:org/a@${FIRST}`, `hf:org/b@${FIRST}`))
    const pinned = await run(['run', 'pinned.yml', '-o', 'pinned'], { HF_ENDPOINT: 'http://127.0.0.1:1' })
    assert.is(pinned.code, 0, pinned.err)
    assert.is(pinned.err.includes('warning'), false, pinned.err)
    assert.is(hub.seen.length, asked)
    // A single shard is not a model.
    rmSync(path.join(cache, 'models--org--b/snapshots', FIRST, 'model.safetensors.index.json'))
    rmSync(path.join(cache, 'models--org--b/snapshots', FIRST, 'model-00002-of-00002.safetensors'))
    const half = await run(['plan', 'recipe.yml'], { HF_HUB_OFFLINE: '1' })
    assert.is(half.code, 2)
    assert.match(half.err, 'hub-offline')
  }))

test('follows a branch that has moved', () =>
  withHub({ repositories: two() }, async ({ hub, folder, write, run }) => {
    write('recipe.yml', HUB)
    assert.is((await run(['run', 'recipe.yml'])).code, 0)
    hub.options = {
      repositories: {
        ...two(),
        'org/a': { commits: { [FIRST]: single(1), [SECOND]: single(9) }, refs: { main: SECOND } },
      },
    }
    assert.is((await run(['run', 'recipe.yml', '--force'])).code, 0)
    const lineage = JSON.parse(readFileSync(path.join(folder, 'out/lineage.json'), 'utf8'))
    assert.is(lineage.models.a.revision, SECOND)
    assert.is(lineage.models.b.revision, FIRST)
  }))

test('PyTorch files on the hub are also planned from ranges', () => {
  const torch = readFileSync(new URL('../../../test/fixtures/torch/mlp256-0.pt', import.meta.url))
  return withHub({ repositories: { 'org/a': repository({ 'pytorch_model.bin': torch }) } }, async ({ write, run }) => {
    write('recipe.yml', mean('hf:org/a', 'hf:org/a@main'))
    const ran = await run(['run', 'recipe.yml', '-o', 'out.safetensors'])
    assert.is(ran.code, 0, ran.err)
  })
})

test('checks the SHA-256 in a recipe against the hub before a download, and against a file before a merge', () =>
  withHub({ repositories: two() }, async ({ hub, folder, write, run }) => {
    const right = sha256(single(1)['model.safetensors']!)
    const wrong = right.replace(/^./, (digit) => (digit === '0' ? '1' : '0'))
    write('recipe.yml', mean(`{hub: org/a, sha256: ${wrong}}`, 'hf:org/b'))
    const refused = await run(['plan', 'recipe.yml'])
    assert.is(refused.code, 2)
    assert.match(refused.err, /recipe\.yml:3:\d+: error sha256-differs/)
    assert.ok(hub.sent() < 400_000)
    cpSync(path.join(folder, 'recipe.yml'), path.join(folder, 'copy.yml'))
    writeFileSync(path.join(folder, 'a.safetensors'), single(1)['model.safetensors']!)
    write('local.yml', mean(`{path: a.safetensors, sha256: ${wrong}}`, 'hf:org/b'))
    const local = await run(['run', 'local.yml'])
    assert.is(local.code, 2)
    assert.match(local.err, /local\.yml:3:\d+: error sha256-differs/)
    assert.not.ok(existsSync(path.join(folder, 'out')))
    write('right.yml', mean(`{path: a.safetensors, sha256: ${right}}`, `{hub: org/a, sha256: ${right.toUpperCase()}}`))
    const ran = await run(['run', 'right.yml'])
    assert.is(ran.code, 0, ran.err)
    write('many.yml', mean('hf:org/a', `{hub: org/b, sha256: ${right}}`))
    assert.match((await run(['plan', 'many.yml'])).err, 'sha256 applies to one file, but the model has 2')
  }))

test('two processes that need the same file download it once', () =>
  withHub({ repositories: two() }, async ({ hub, folder, run, write }) => {
    for (const name of ['one', 'two'])
      write(`${name}.yml`, mean('hf:org/a', 'hf:org/b').replace('output: out', `output: ${name}`))
    const weights = Object.values(two()).flatMap(({ commits }) => Object.values(commits).flatMap(Object.entries))
    const bytes = weights.reduce(
      (sum, [name, content]) => sum + (name.endsWith('.safetensors') ? content.length : 0),
      0,
    )
    const ran = await Promise.all(['one', 'two'].map((name) => run(['run', `${name}.yml`, '--no-sync'])))
    assert.equal(
      ran.map(({ code }) => code),
      [0, 0],
      ran.map(({ err }) => err).join('\n'),
    )
    const read = (name: string) => readFileSync(path.join(folder, name, 'model.safetensors'))
    assert.equal(read('one'), read('two'))
    // Each reads the headers for its plan; whole files are downloaded once.
    const whole = hub.seen.filter(({ server, range }) => server === 'storage' && /^bytes=0-$/.test(range ?? 'bytes=0-'))
    assert.ok(whole.length > 0)
    assert.ok(whole.reduce((sum, { sent }) => sum + sent, 0) <= bytes, JSON.stringify(hub.seen))
  }))

test.run()
