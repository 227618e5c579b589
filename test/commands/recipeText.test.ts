import { readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { inFolder } from '../support/files.js'
import { fixture, terge } from '../support/terge.js'

test('a starter recipe as JSON is a valid recipe', () =>
  inFolder(async (folder) => {
    const models = [0, 1].map((seed) => fixture(`digits/mlp256-${seed}.safetensors`))
    const { code, out } = await terge(['init', ...models, '--json'], folder)
    assert.is(code, 0)
    assert.equal(JSON.parse(out).merge, { method: 'linear', weights: { 'mlp256-0': 1, 'mlp256-1': 1 } })
    writeFileSync(path.join(folder, 'r.json'), out)
    assert.is((await terge(['validate', 'r.json'], folder)).code, 0)
  }))

test('examples in a starter recipe are about all layers', () =>
  inFolder(async (folder) => {
    const { out } = await terge(['init', fixture('lm/base'), fixture('lm/prose')], folder)
    assert.match(out, 'include: ["model.layers.*.input_layernorm.weight"]')
    assert.match(out, '- match: "model.layers.*.input_layernorm.weight"')
  }))

test('a mergekit configuration as JSON, into a file', () =>
  inFolder(async (folder) => {
    const argv = ['import', fixture('golden/linear.yml'), '--format', 'json', '-o', 'r.json']
    assert.equal(await terge(argv, folder), { code: 0, out: '', err: '' })
    const recipe = JSON.parse(readFileSync(path.join(folder, 'r.json'), 'utf8'))
    assert.is(recipe.terge, 1)
    assert.is(recipe.merge.method, 'linear')
    assert.is((await terge(['validate', 'r.json'], folder)).code, 0)
  }))

test.run()
