/** Refusals of the hub give errors with a place and a hint, and only the hub gets the token. */
import { mkdirSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { listFolder } from '../../src/storage/hub/repository.js'
import { hubSettings } from '../../src/storage/hub/settings.js'
import { asyncFaultOf, faultOf } from '../checkpoints/helpers.js'
import { startHub } from './server.js'
import { everything, FIRST, mean, repository, single, two, withHub } from './setup.js'

const TOKEN = 'hf_SecretSecretSecretSecretSecret'

test('each refusal of the hub gives its own error with a place and a hint', () =>
  withHub(
    {
      repositories: {
        'org/open': repository(single(1)),
        'org/private': { ...repository(single(1)), access: 'private' },
        'org/gated': { ...repository(single(1)), access: 'gated' },
      },
      token: TOKEN,
    },
    async ({ hub, write, run }) => {
      const models = [
        'private',
        'gated',
        'none',
        'open@mian',
        '{hub: org/open, subfolder: nowhere}',
        '{hub: org/open, subfolder: ../up}',
      ]
      const lines = models.map((model, i) => `  m${i}: ${model.startsWith('{') ? model : `hf:org/${model}`}\n`).join('')
      write('recipe.yml', `terge: 1\nmodels:\n${lines}merge: {method: linear}\noutput: out\n`)
      const { code, err } = await run(['validate', 'recipe.yml'])
      assert.is(code, 2)
      assert.match(err, /recipe\.yml:3:7: error hub-not-found: .*'org\/private'.*or it is private[\s\S]*set HF_TOKEN/)
      assert.match(
        err,
        /recipe\.yml:4:7: error hub-gated: [\s\S]*ask for access at http:\S*\/org\/gated, then set HF_TOKEN/,
      )
      assert.match(err, /recipe\.yml:5:7: error hub-not-found/)
      assert.match(err, /recipe\.yml:6:7: error hub-revision: .*no revision 'mian'[\s\S]*did you mean 'main'/)
      assert.match(err, /recipe\.yml:7:7: error hub-entry: .*'nowhere'/)
      assert.match(err, /recipe\.yml:8:7: error path-escape/)

      const known = await run(['validate', 'recipe.yml'], { HF_TOKEN: TOKEN })
      assert.not.match(known.err, 'recipe.yml:3:')
      assert.match(known.err, /hub-gated[\s\S]*with the account that HF_TOKEN belongs to/)
      assert.not.match(known.err + known.out, TOKEN)

      const offline = await run(['validate', 'recipe.yml'], { HF_HUB_OFFLINE: '1', HF_HOME: '/nonexistent/terge' })
      assert.match(offline.err, /recipe\.yml:3:7: error hub-offline: [\s\S]*unset HF_HUB_OFFLINE/)

      await hub.close()
      const down = await run(['validate', 'recipe.yml'])
      assert.is(down.code, 2)
      assert.match(down.err, /recipe\.yml:4:7: error hub-unreachable: .*ECONNREFUSED/)
    },
  ))

test('the token is sent only to the hub, and never shown', () =>
  withHub(
    {
      repositories: {
        'org/a': { ...repository(single(1)), access: 'private' },
        'org/b': { ...repository(single(2)), access: 'private' },
      },
      token: TOKEN,
    },
    async ({ hub, folder, write, run }) => {
      write('recipe.yml', mean('hf:org/a', 'hf:org/b'))
      const env = { HF_TOKEN: TOKEN }
      const outputs = [
        await run(['lock', 'recipe.yml', '--json'], env),
        await run(['run', 'recipe.yml', '--locked', '--json'], env),
        await run(['verify', 'out/lineage.json'], env),
        await run(['plan', 'recipe.yml', '--json'], env),
      ]
      for (const { code, err } of outputs) assert.is(code, 0, err)
      const storage = hub.seen.filter(({ server }) => server === 'storage')
      assert.ok(storage.length >= 4)
      assert.equal(
        storage.filter(({ authorization }) => authorization !== undefined),
        [],
      )
      assert.ok(hub.seen.some(({ authorization }) => authorization === `Bearer ${TOKEN}`))
      // Errors do not show it either, even from a hub that echoes it.
      outputs.push(await run(['plan', 'recipe.yml'], { HF_TOKEN: `${TOKEN}X`, HF_HOME: path.join(folder, 'other') }))
      outputs.push(await run(['plan', 'recipe.yml'], { HF_TOKEN: `${TOKEN} X`, HF_HOME: path.join(folder, 'other') }))
      assert.equal(
        outputs.slice(-2).map(({ code }) => code),
        [2, 2],
      )
      assert.match(outputs.at(-1)!.err, 'error bad-environment: HF_TOKEN is not a hub access token')
      for (const { out, err } of outputs) assert.not.ok(`${out}${err}`.includes('SecretSecret'), err)
      const { names, text } = everything(folder)
      assert.ok(names.includes('recipe.yml.lock') && names.includes(path.join('out', 'lineage.json')))
      for (const secret of ['SecretSecret', 'SIGNATURE', hub.url]) assert.not.ok(text.includes(secret), secret)
    },
  ))

test('list pages on other hosts get no token, and a stored token is used', () =>
  withHub(
    {
      repositories: { 'org/a': { ...repository(single(1)), access: 'private' } },
      token: TOKEN,
      page: 1,
      pagesAt: 'storage',
    },
    async ({ hub, folder, write, run }) => {
      mkdirSync(path.join(folder, 'home'))
      writeFileSync(path.join(folder, 'home/token'), `${TOKEN}\n`)
      write('recipe.yml', mean('hf:org/a', 'hf:org/a@main'))
      const { code, err } = await run(['plan', 'recipe.yml'])
      assert.is(code, 2)
      assert.not.match(err, 'SecretSecret')
      const storage = hub.seen.filter(({ server }) => server === 'storage')
      assert.ok(storage.length > 0)
      assert.equal(
        storage.filter(({ authorization }) => authorization !== undefined),
        [],
      )
      assert.ok(hub.seen.some(({ authorization }) => authorization === `Bearer ${TOKEN}`))
    },
  ))

test('checks everything in a list of files', async () => {
  const oid = '0'.repeat(40)
  const hub = await startHub({ repositories: two() })
  const settings = { ...hubSettings({}), endpoint: hub.url }
  const list = () => listFolder(settings, { reference: 'hf:org/a', repository: 'org/a', commit: FIRST }, '')
  try {
    assert.is((await list()).length, 4)
    for (const [entry, wanted] of [
      [{ type: 'file', path: '../../../../evil.json', size: 4, oid }, 'path-escape'],
      [{ type: 'file', path: '/evil.json', size: 4, oid }, 'path-escape'],
      [{ type: 'file', path: 'a\\..\\evil.json', size: 4, oid }, 'path-escape'],
      [{ type: 'file', path: 'evil.json', size: -1, oid }, 'hub-unreachable'],
      [{ type: 'file', path: 'evil.json', size: 4, oid: '../../evil' }, 'hub-unreachable'],
      [{ type: 'file', path: 'evil.json', size: 4, lfs: { oid: 'x' } }, 'hub-unreachable'],
      [{ type: 'file', path: 7 }, 'hub-unreachable'],
      [null, 'hub-unreachable'],
    ] as const) {
      hub.options = { repositories: two(), extra: [entry] }
      assert.is((await asyncFaultOf(list)).code, wanted, JSON.stringify(entry))
    }
  } finally {
    await hub.close()
  }
})

test('nothing is written for a hub that lists files outside of the folder', () =>
  withHub(
    { repositories: two(), extra: [{ type: 'file', path: '../../../../../evil.json', size: 4, oid: '0'.repeat(40) }] },
    async ({ folder, run }) => {
      const { code, err } = await run(['inspect', 'hf:org/a'])
      assert.is(code, 2, err)
      assert.match(err, 'error path-escape')
      assert.equal(everything(folder).names, [])
    },
  ))

test('environment variables set the hub and its cache', () => {
  const none = { HF_TOKEN_PATH: '/nonexistent/token' }
  const of = (env: Record<string, string>) => hubSettings({ ...none, ...env })
  assert.is(of({}).endpoint, 'https://huggingface.co')
  assert.is(of({ HF_HOME: '/x' }).cache, path.resolve('/x/hub'))
  assert.is(of({ XDG_CACHE_HOME: '/x' }).cache, path.resolve('/x/huggingface/hub'))
  assert.is(of({ HF_HOME: '/x', HF_HUB_CACHE: '/y' }).cache, path.resolve('/y'))
  assert.is(of({ HF_ENDPOINT: 'http://localhost:8080/mirror/' }).endpoint, 'http://localhost:8080/mirror')
  assert.is(of({ HF_TOKEN: ' hf_abc\n' }).token, 'hf_abc')
  assert.is(of({}).token, undefined)
  for (const on of ['1', 'ON', 'yes', 'True']) assert.ok(of({ HF_HUB_OFFLINE: on }).offline)
  for (const off of ['', '0', 'no']) assert.not.ok(of({ HF_HUB_OFFLINE: off }).offline)
  for (const bad of ['nowhere', 'file:///x', 'https://user:secret@host', 'https://host/?token=secret']) {
    const { code, message, hint } = faultOf(() => of({ HF_ENDPOINT: bad }))
    assert.is(code, 'bad-environment')
    assert.not.match(message + hint, 'secret')
  }
  assert.is(faultOf(() => of({ HF_TOKEN: 'hf_a\u0001b' })).code, 'bad-environment')
})

for (const endless of ['same', 'new'] as const)
  test(`a list whose pages never end is an error (${endless})`, () =>
    withHub({ repositories: two(), endless }, async ({ hub, write, run }) => {
      write('recipe.yml', mean('hf:org/a', 'hf:org/b'))
      const { code, err } = await run(['validate', 'recipe.yml'])
      assert.is(code, 2)
      const expected = endless === 'same' ? /the pages of a list repeat/ : /the list of files does not end/
      assert.match(err, /recipe\.yml:3:\d+: error hub-unreachable: /)
      assert.match(err, expected)
      assert.ok(hub.seen.length < 2200)
    }))

test('data that arrive too slowly are an error: a header, a small file, a list', () =>
  withHub({ repositories: two() }, async ({ hub, write, run }) => {
    write('recipe.yml', mean('hf:org/a', 'hf:org/b'))
    for (const slow of ['config.json', 'model.safetensors']) {
      hub.options = { ...hub.options, disturb: ({ path }) => (path === slow ? { trickle: 100 } : undefined) }
      const { code, err } = await run(['plan', 'recipe.yml'])
      assert.is(code, 2)
      assert.match(err, /error hub-unreachable: .*less than 1024 bytes per second for \d+ s/)
    }
  }))

test('downloads only useful small files, and limits their number', () =>
  withHub({ repositories: two() }, async ({ hub, cache, write, run }) => {
    const files = (name: (i: number) => string, count: number, more: Record<string, Uint8Array> = {}) => ({
      ...single(1),
      ...Object.fromEntries(Array.from({ length: count }, (_, i) => [name(i), Buffer.from('{}')])),
      ...more,
    })
    const models = mean('hf:org/a', 'hf:org/b')
    const cached = () =>
      everything(cache)
        .names.map((name) => path.basename(name))
        .filter((name) => /^(junk|code)/.test(name))
    write('recipe.yml', models)
    // Unknown files, and code that no configuration names, are not downloaded.
    hub.options = {
      ...hub.options,
      repositories: {
        'org/a': repository({ ...files((i) => `junk${i}.json`, 150), ...files((i) => `code${i}.py`, 150) }),
        'org/b': repository(single(2)),
      },
    }
    const planned = await run(['plan', 'recipe.yml'])
    assert.is(planned.code, 0, planned.err)
    assert.equal(cached(), [])
    const ran = await run(['run', 'recipe.yml'])
    assert.is(ran.code, 0, ran.err)
    // More licences than any model has.
    hub.options = {
      ...hub.options,
      repositories: { 'org/c': repository(files((i) => `LICENSE.${i}`, 250)), 'org/b': repository(single(2)) },
    }
    write('recipe.yml', models.replace('org/a', 'org/c'))
    const many = await run(['plan', 'recipe.yml'])
    assert.is(many.code, 2)
    assert.match(many.err, /error too-large: hf:org\/c: 25\d files of configuration.* no real model has that many/)
    // Code that the model's configuration names is downloaded.
    const own = { 'config.json': Buffer.from('{"model_type": "test", "auto_map": {"AutoModel": "code0.Model"}}') }
    hub.options = {
      ...hub.options,
      repositories: { 'org/d': repository(files((i) => `code${i}.py`, 2, own)), 'org/b': repository(single(2)) },
    }
    write('recipe.yml', models.replace('org/a', 'org/d'))
    const code = await run(['plan', 'recipe.yml'])
    assert.is(code.code, 0, code.err)
    assert.equal(cached().sort(), ['code0.py', 'code1.py'])
  }))

test.run()
