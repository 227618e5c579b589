/** Adapters on the hub are downloaded, locked and verified like models. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { matrix, stored } from '../support/adapters.js'
import { safetensors } from '../support/files.js'
import { FIRST, repository, withHub } from './setup.js'

const base = {
  'config.json': Buffer.from('{"model_type": "test"}'),
  'tokenizer.json': Buffer.from('{"version": "1.0"}'),
  'model.safetensors': safetensors({ 'layers.0.q.weight': stored(matrix([96, 64], 1)) }),
}
const adapter = (alpha: number) => ({
  'adapter_config.json': Buffer.from(JSON.stringify({ peft_type: 'LORA', r: 4, lora_alpha: alpha })),
  'adapter_model.safetensors': safetensors({
    'base_model.model.layers.0.q.lora_A.weight': stored(matrix([4, 64], 2)),
    'base_model.model.layers.0.q.lora_B.weight': stored(matrix([96, 4], 3)),
  }),
})

test('lora: hf:org/name@revision gives the same bytes as local files; with lock, offline, verify', () =>
  withHub(
    { repositories: { 'org/base': repository(base), 'org/lora': repository(adapter(8)) } },
    async ({ hub, folder, write, run }) => {
      const recipe = (model: string, lora: string) =>
        `terge: 1\nmodels: {m: {path: "${model}", lora: "${lora}"}}\nmerge: {method: passthrough}\noutput: out\n`
      write('recipe.yml', recipe('hf:org/base', 'hf:org/lora@main'))
      const ran = await run(['run', 'recipe.yml'])
      assert.is(ran.code, 0, ran.err)
      for (const [name, files] of Object.entries({ base, lora: adapter(8) })) {
        mkdirSync(path.join(folder, name))
        for (const [file, bytes] of Object.entries(files)) writeFileSync(path.join(folder, name, file), bytes)
      }
      write('local.yml', recipe('base', 'lora'))
      assert.is((await run(['run', 'local.yml', '-o', 'local'])).code, 0)
      const [got, expected] = ['out', 'local'].map((name) => readFileSync(path.join(folder, name, 'model.safetensors')))
      assert.ok(got!.equals(expected!))
      const lineage = JSON.parse(readFileSync(path.join(folder, 'out/lineage.json'), 'utf8'))
      assert.is(lineage.models['m.lora'].reference, 'hf:org/lora@main')
      assert.is(lineage.models['m.lora'].revision, FIRST)

      const locked = await run(['lock', 'recipe.yml'])
      assert.is(locked.code, 0, locked.err)
      const lock = JSON.parse(readFileSync(path.join(folder, 'recipe.yml.lock'), 'utf8'))
      assert.equal(
        lock.models['m.lora'].files.map(({ name }: { name: string }) => name),
        ['adapter_model.safetensors', 'adapter_config.json'],
      )
      const asked = hub.seen.length
      const offline = { HF_HUB_OFFLINE: '1' }
      const again = await run(['run', 'recipe.yml', '--locked', '-o', 'again'], offline)
      assert.is(again.code, 0, again.err)
      const verified = await run(['verify', 'out/lineage.json', '--reproduce'], offline)
      assert.is(verified.code, 0, verified.err)
      assert.is(hub.seen.length, asked)
    },
  ))

test('reports an adapter that the hub does not have, with its place', () =>
  withHub({ repositories: { 'org/base': repository(base) } }, async ({ write, run }) => {
    write(
      'recipe.yml',
      'terge: 1\nmodels:\n  m: {path: "hf:org/base", lora: "hf:org/nothing"}\nmerge: {method: passthrough}\noutput: out\n',
    )
    const ran = await run(['run', 'recipe.yml'])
    assert.is(ran.code, 2)
    assert.match(ran.err, /recipe\.yml:3:\d+: error hub-[a-z-]+: hf:org\/nothing/)
  }))

test.run()
