import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { METHODS } from '../../src/methods/registry.js'
import { f32, writeModel } from '../support/files.js'
import { fixture, terge } from '../support/terge.js'

const folder = mkdtempSync(path.join(os.tmpdir(), 'terge-base-'))
test.after(() => rmSync(folder, { recursive: true }))
for (const name of ['a', 'b'])
  writeModel(path.join(folder, `${name}.safetensors`), { w: f32([2], [1, name === 'a' ? 2 : 3]) })

const NEEDY = METHODS.filter(({ base }) => base === 'required' || base === 'listed')
const names = NEEDY.flatMap(({ name, aliases }) => [name, ...aliases])
const parametersOf = (method: string): readonly string[] => (method === 'nearswap' ? ['t=0.1'] : [])

test('methods that compare models with a base include the two that merge it', () => {
  for (const name of ['ties', 'model_stock', 'arcee_fusion', 'nearswap']) assert.ok(names.includes(name), name)
})

test('terge merge without --base never uses the first model as base', async () => {
  for (const method of names) {
    const parameters = parametersOf(method).flatMap((text) => ['--param', text])
    const args = ['merge', 'a.safetensors', 'b.safetensors', '--method', method, ...parameters, '-o', 'out.safetensors']
    const { code, err } = await terge(args, folder)
    assert.is(code, 2, `${method}: ${err}`)
    assert.match(err, /^error missing-base: .* requires a base model\n {2}hint: add --base MODEL/, method)
    assert.not.ok(existsSync(path.join(folder, 'out.safetensors')), method)
  }
})

test('a recipe without a base, in each form, is an error at the method', async () => {
  const models = 'models: {a: a.safetensors, b: b.safetensors}'
  for (const method of names) {
    const parameters = parametersOf(method).map((text) => `, parameters: {${text.replace('=', ': ')}}`)
    const merge = `{method: ${method}${parameters.join('')}}`
    const forms = {
      'short.yml': `terge: 1\n${models}\nmerge: ${merge}\noutput: out.safetensors\n`,
      'long.yml': `terge: 1\n${models}\nsteps: {m: {merge: ${merge}}}\noutput: out.safetensors\n`,
      'rule.yml': `terge: 1\n${models}\nmerge: {method: linear, rules: [${merge.replace('{', '{match: w, ')}]}\noutput: out.safetensors\n`,
    }
    for (const [file, text] of Object.entries(forms)) {
      writeFileSync(path.join(folder, file), text)
      const { code, err } = await terge(['run', file], folder)
      assert.is(code, 2, `${method} ${file}: ${err}`)
      assert.match(err, /^\w+\.yml:\d+:\d+: error missing-base: /, `${method} ${file}`)
      assert.match(
        err,
        /hint: write base: NAME, the (model that the others were fine-tuned from|merged model to start from) \(such as base: a\)/,
      )
      assert.is(err.match(/error /g)?.length, 1, `${method} ${file}: ${err}`)
      assert.not.ok(existsSync(path.join(folder, 'out.safetensors')), method)
    }
  }
})

test('a method set by --set needs a base too', async () => {
  writeFileSync(
    path.join(folder, 'set.yml'),
    'terge: 1\nmodels: {a: a.safetensors, b: b.safetensors}\nmerge: {method: linear}\noutput: out.safetensors\n',
  )
  const { code, err } = await terge(['run', 'set.yml', '--set', 'merge.method=ties'], folder)
  assert.is(code, 2, err)
  assert.match(err, 'error missing-base: ties requires a base model')
})

test('adapters alone need no --base: their task vectors are what they change', async () => {
  const models = ['a0', 'a1'].map((name) => path.join(fixture('merged-adapters/merge-core-ties'), name))
  const { code, err } = await terge(['merge', ...models, '--method', 'ties', '-o', 'adapter'], folder)
  assert.is(code, 0, err)
  assert.ok(existsSync(path.join(folder, 'adapter/adapter_config.json')))
})

test.run()
