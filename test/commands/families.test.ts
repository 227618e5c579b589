/** Models of one family that are stored differently: heads that are tied, other prefixes, encoder and decoder. */

import { writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { inFolder } from '../support/files.js'
import { terge } from '../support/terge.js'
import { jsonOf, matrix, valuesOf, weights, writeFolder } from './families.js'

const run = (folder: string, text: string, ...flags: string[]) => {
  writeFileSync(path.join(folder, 'r.yaml'), `terge: 1\n${text}\n`)
  return terge(['run', 'r.yaml', '--no-sync', '--force', ...flags], folder)
}

const body = (seed: number, prefix = 'model.') => ({
  [`${prefix}embed_tokens.weight`]: matrix(seed, 6, 4),
  [`${prefix}layers.0.up.weight`]: matrix(seed + 1, 4, 4),
  [`${prefix}layers.1.up.weight`]: matrix(seed + 2, 4, 4),
  [`${prefix}norm.weight`]: matrix(seed + 3, 4),
})
const head = (seed: number) => ({ 'lm_head.weight': matrix(seed + 4, 6, 4) })

const write = (folder: string, name: string, tensors: Parameters<typeof weights>[0], config?: object) =>
  writeFolder(path.join(folder, name), {
    'model.safetensors': weights(tensors),
    ...(config ? { 'config.json': config } : {}),
  })

const tensorOf = (folder: string, model: string, name: string) =>
  valuesOf(path.join(folder, model, 'model.safetensors'), name)

const mean = (a: Float32Array, b: Float32Array) => a.map((value, at) => Math.fround((value + b[at]!) / 2))

const average = 'models: {a: ./a, b: ./b}\nmerge: {method: linear}\noutput: out'

test('a tied head is its embedding, also where a recipe makes errors of what is missing', () =>
  inFolder(async (folder) => {
    write(folder, 'a', { ...body(1), ...head(1) }, { tie_word_embeddings: false })
    write(folder, 'b', body(11), { tie_word_embeddings: true })
    const { code, err } = await run(folder, average.replace('linear}', 'linear, on_missing: error}'))
    assert.is(code, 0, err)
    assert.match(
      err,
      'r.yaml:2:18: warning tied-head: b has no lm_head.weight: terge uses model.embed_tokens.weight instead',
    )
    const own = tensorOf(folder, 'a', 'lm_head.weight')
    const tied = tensorOf(folder, 'b', 'model.embed_tokens.weight')
    assert.equal(tensorOf(folder, 'out', 'lm_head.weight'), mean(own, tied))
    const { sources } = jsonOf(path.join(folder, 'out'), 'lineage.json').tensors['lm_head.weight']
    assert.equal(
      sources.map(({ tensor }: { tensor: string }) => tensor),
      ['lm_head.weight', 'model.embed_tokens.weight'],
    )
    // One whose configuration denies it, or that has none, just lacks the tensor.
    write(folder, 'b', body(11), { tie_word_embeddings: false })
    assert.is((await run(folder, average)).err.includes('tied-head'), false)
    assert.equal(tensorOf(folder, 'out', 'lm_head.weight'), own)
    const bare = await run(folder, average.replace('b: ./b', 'b: ./b/model.safetensors'))
    assert.is(bare.err.includes('tied-head'), false)
    assert.equal(tensorOf(folder, 'out', 'lm_head.weight'), own)
  }))

test('a tied head across steps: of what a step made of models that tie theirs, and of a model that is a base elsewhere', () =>
  inFolder(async (folder) => {
    write(folder, 'a', { ...body(1), ...head(1) }, { tie_word_embeddings: false })
    for (const [name, seed] of Object.entries({ b: 11, c: 21 }))
      write(folder, name, body(seed), { tie_word_embeddings: true })
    const { code, err } = await run(
      folder,
      `models: {a: ./a, b: ./b, c: ./c}
steps:
  m: {merge: {method: linear, base: b, models: [b, c]}}
  n: {merge: {method: linear, base: a, models: [a, m]}}
  o: {merge: {method: linear, base: a, models: [a, b], on_missing: error}}
  e: {extract: {lora: {from: b, base: a, rank: 4}}}
outputs: [{path: m, from: m}, {path: n, from: n}, {path: o, from: o}, {path: e, from: e}]`,
    )
    assert.is(code, 0, err)
    const own = tensorOf(folder, 'a', 'lm_head.weight')
    const embedding = (model: string) => tensorOf(folder, model, 'model.embed_tokens.weight')
    assert.equal(tensorOf(folder, 'n', 'lm_head.weight'), mean(own, embedding('m')))
    assert.equal(tensorOf(folder, 'o', 'lm_head.weight'), mean(own, embedding('b')))
    assert.is(jsonOf(path.join(folder, 'e'), 'adapter_config.json').target_modules.includes('lm_head'), true)
    for (const name of ['m', 'b']) assert.match(err, `warning tied-head: ${name} has no lm_head.weight`)
    assert.is(err.split('tied-head').length, 3, err)
  }))

test('a head that the base ties is reported; a head that is no longer tied is a tensor of its own', () =>
  inFolder(async (folder) => {
    write(folder, 'a', body(1), { tie_word_embeddings: true })
    write(folder, 'b', { ...body(11), ...head(11) }, { tie_word_embeddings: false })
    const lost = await run(folder, average)
    assert.match(lost.err, 'warning unused-head: b has a separate head, lm_head.weight, which terge ignores: a ties')
    assert.equal(jsonOf(path.join(folder, 'out'), 'config.json'), { tie_word_embeddings: true })
    // The base stores what it ties: merged with another head the two differ.
    const embedding = { 'lm_head.weight': matrix(1, 6, 4) }
    write(folder, 'a', { ...body(1), ...embedding }, { tie_word_embeddings: true })
    assert.is((await run(folder, average)).code, 0)
    assert.equal(jsonOf(path.join(folder, 'out'), 'config.json'), { tie_word_embeddings: false })
    write(folder, 'b', { ...body(11), 'lm_head.weight': matrix(11, 6, 4) }, { tie_word_embeddings: true })
    assert.is((await run(folder, average)).code, 0)
    assert.equal(jsonOf(path.join(folder, 'out'), 'config.json'), { tie_word_embeddings: true })
  }))

test('a stack of a model that ties its head onto one that does not', () =>
  inFolder(async (folder) => {
    write(folder, 'a', { ...body(1), ...head(1) }, { tie_word_embeddings: false, num_hidden_layers: 2 })
    write(folder, 'b', body(11), { tie_word_embeddings: true })
    const stack = 'steps: {s: {stack: [{model: a, layers: [0, 2]}, {model: b, layers: [1, 2]}]}}'
    const { code, err } = await run(folder, `models: {a: ./a, b: ./b}\n${stack}\noutput: out`)
    assert.is(code, 0, err)
    assert.equal(tensorOf(folder, 'out', 'lm_head.weight'), tensorOf(folder, 'b', 'model.embed_tokens.weight'))
    assert.is(jsonOf(path.join(folder, 'out'), 'config.json').num_hidden_layers, 3)
  }))

test('encoder and decoder: one embedding under several names', () =>
  inFolder(async (folder) => {
    const rest = (seed: number) => ({ 'encoder.block.0.w': matrix(seed, 4), 'decoder.block.0.w': matrix(seed + 1, 4) })
    const names = ['shared.weight', 'encoder.embed_tokens.weight', 'decoder.embed_tokens.weight', 'lm_head.weight']
    write(folder, 'a', { ...rest(1), ...Object.fromEntries(names.map((name) => [name, matrix(3, 6, 4)])) })
    write(folder, 'b', { ...rest(11), 'shared.weight': matrix(13, 6, 4) }, { model_type: 't5' })
    const { code, err } = await run(folder, average.replace('linear}', 'linear, on_missing: error}'))
    assert.is(code, 0, err)
    const wanted = mean(tensorOf(folder, 'a', 'shared.weight'), tensorOf(folder, 'b', 'shared.weight'))
    for (const name of names) assert.equal(tensorOf(folder, 'out', name), wanted, name)
  }))

for (const [what, own, theirs, lines] of [
  ['taken off', '', 'module.', 'strip_prefix: "module."'],
  ['put on', 'model.', '', 'rename: ['],
  ['another', 'model.', 'transformer.', 'strip_prefix: "transformer.", rename: [{from: "**", to: "model.**"}]'],
] as const)
  test(`a prefix that differs: ${what}`, () =>
    inFolder(async (folder) => {
      const first = own === 'model.' && theirs === '' ? head(1) : {}
      const second = theirs === '' ? head(11) : {}
      write(folder, 'a', { ...body(1, own), ...first })
      write(folder, 'b', { ...body(11, theirs), ...second })
      const { code, err } = await run(folder, average.replace('linear}', 'linear, on_missing: error}'))
      assert.is(code, 0, err)
      assert.match(err, 'warning other-prefix: the tensors of b and a have different prefixes')
      assert.match(err, lines)
      const [wanted, made] = ['layers.1.up.weight', 'embed_tokens.weight'].map((name) => [
        mean(tensorOf(folder, 'a', own + name), tensorOf(folder, 'b', theirs + name)),
        tensorOf(folder, 'out', own + name),
      ]) as [Float32Array[], Float32Array[]]
      for (const [expected, found] of [wanted, made]) assert.equal(found, expected)
      const { sources } = jsonOf(path.join(folder, 'out'), 'lineage.json').tensors[`${own}norm.weight`]
      assert.is(sources[1].tensor, `${theirs}norm.weight`)
      // The lines of the hint say just that.
      const hint = /to write this in the recipe: (.*)/.exec(err)![1]!
      const said = await run(folder, average.replace('b: ./b', `b: {path: ./b, ${hint}}`))
      assert.is(said.code, 0, said.err)
      assert.is(said.err.includes('other-prefix'), false)
      assert.equal(tensorOf(folder, 'out', `${own}embed_tokens.weight`), made[1])
    }))

test('models that only share a few shapes are not taken for each other', () =>
  inFolder(async (folder) => {
    write(folder, 'a', { ...body(1), ...head(1) })
    write(folder, 'b', {
      'x.layers.0.up.weight': matrix(1, 4, 4),
      'x.conv.weight': matrix(2, 3, 3),
      'x.other': matrix(3, 9),
      'x.y': matrix(1, 2),
    })
    const { code, err } = await run(folder, average)
    assert.is(code, 2)
    assert.match(err, 'error nothing-to-merge')
    // Another layer of the same size is no layer under another prefix.
    write(folder, 'a', { 'fc1.weight': matrix(1, 4, 4), 'fc1.bias': matrix(2, 4) })
    write(folder, 'b', { 'fc2.weight': matrix(1, 4, 4), 'fc2.bias': matrix(2, 4) })
    assert.match((await run(folder, average)).err, 'error nothing-to-merge')
  }))

test.run()
