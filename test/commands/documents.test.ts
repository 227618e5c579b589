/** Several documents of mergekit in one file: what a named one says of its own result is done, or refused. */

import { readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { inFolder } from '../support/files.js'
import { terge } from '../support/terge.js'
import { jsonOf, matrix, weights, writeFolder } from './families.js'

const model = (folder: string, name: string, seed: number, rows = 6, more: object = {}) =>
  writeFolder(path.join(folder, name), {
    'model.safetensors': weights({
      'model.embed_tokens.weight': matrix(seed, rows, 5),
      'model.layers.0.mlp.up_proj.weight': matrix(seed + 1, 24, 40),
      'model.norm.weight': matrix(seed + 2, 5),
    }),
    'config.json': { vocab_size: rows },
    ...more,
  })

const bytes = (folder: string, output: string): Buffer => readFileSync(path.join(folder, output, 'model.safetensors'))

async function run(folder: string, name: string, text: string): Promise<{ code: number; err: string; out: string }> {
  writeFileSync(path.join(folder, name), text)
  return terge(['run', name, '--no-sync', '--force'], folder)
}

const fine = async (folder: string, name: string, text: string): Promise<void> => {
  const { code, err } = await run(folder, name, text)
  assert.is(code, 0, err)
}

test('a step with a dtype is rounded before other steps use it, as in two runs', () =>
  inFolder(async (folder) => {
    for (const [index, name] of ['a', 'b', 'c'].entries()) model(folder, name, 10 * index + 1)
    const methods = [
      ['linear', ''],
      ['nuslerp', ''],
      ['ties', ', parameters: {density: 0.5}'],
      ['model_stock', ''],
      ['tsv_m', ''],
    ]
    for (const [method, more] of methods)
      for (const [index, dtype] of ['bfloat16', 'float16'].entries()) {
        const [first, second] = index === 0 ? [method, 'linear'] : ['linear', method]
        const models = (of: string) => (of === 'linear' ? '[x, b]' : of === 'nuslerp' ? '[b, c]' : '[b, c]')
        const settings = (of: string | undefined, base: string) =>
          `method: ${of}, base: ${base}, models: ${models(of!).replace('x', base)}${of === 'linear' ? '' : more}`
        const head = 'terge: 1\nmodels: {a: ./a, b: ./b, c: ./c'
        await fine(
          folder,
          'once.yml',
          `${head}}\nsteps:\n  x: {merge: {${settings(first, 'a')}, dtype: ${dtype}}}\n  y: {merge: {${settings(second, 'x')}}}\noutput: {path: once, from: y, dtype: float32}\n`,
        )
        await fine(
          folder,
          'one.yml',
          `${head}}\nmerge: {${settings(first, 'a')}}\noutput: {path: one, dtype: ${dtype}}\n`,
        )
        await fine(
          folder,
          'two.yml',
          `${head}, x: ./one}\nmerge: {${settings(second, 'x')}}\noutput: {path: two, dtype: float32}\n`,
        )
        assert.ok(bytes(folder, 'once').equals(bytes(folder, 'two')), `${first}, then ${second} in ${dtype}`)
      }
  }))

const document = (name: string | undefined, models: readonly string[], more = '', base = models[0]): string =>
  [
    ...(name === undefined ? [] : [`name: ${name}`]),
    ...['merge_method: linear', `base_model: ${base}`, 'models:'],
    ...models.map((model) => `- {model: ${model}, parameters: {weight: 0.5}}`),
    ...['dtype: bfloat16', more, ''],
  ].join('\n')

test('mergekit documents: the dtype of a named one rounds, slices too, and its chat template goes with its files', () =>
  inFolder(async (folder) => {
    for (const [index, name] of ['a', 'b', 'c'].entries())
      model(folder, name, 10 * index + 1, 6, { 'tokenizer_config.json': {} })
    await fine(
      folder,
      'all.yml',
      `${document('x', ['./a', './b'], 'chat_template: chatml')}---\n${document(undefined, ['x', './c'])}`,
    )
    const all = bytes(folder, 'merged')
    assert.match(jsonOf(path.join(folder, 'merged'), 'tokenizer_config.json').chat_template, '<|im_start|>')
    await fine(folder, 'first.yml', document(undefined, ['./a', './b']))
    const first = bytes(folder, 'merged')
    writeFolder(path.join(folder, 'x'), { 'model.safetensors': first, 'config.json': { vocab_size: 6 } })
    await fine(folder, 'last.yml', document(undefined, ['./x', './c']))
    assert.ok(all.equals(bytes(folder, 'merged')))
    const slices =
      'name: s\nmerge_method: passthrough\nslices:\n- sources: [{model: ./a, layer_range: [0, 1]}]\ndtype: bfloat16\n'
    const imported = async (text: string): Promise<string> => {
      writeFileSync(path.join(folder, 'slices.yml'), text)
      return (await terge(['import', 'slices.yml'], folder)).out
    }
    assert.match(
      await imported(`${slices}---\n${document(undefined, ['s', './c'])}`),
      /method: passthrough[\s\S]*dtype: bfloat16/,
    )
  }))

test('a tokenizer of a named document is refused, unless all documents have that of one base', () =>
  inFolder(async (folder) => {
    for (const [index, name] of ['a', 'b', 'c'].entries())
      model(folder, name, 10 * index + 1, 3, { 'vocab.txt': 'x\ny\nz\n' })
    const both = (first: string, last: string) =>
      `${document('x', ['./a', './b'], first)}---\n${document(undefined, ['x', './c'], last)}`
    for (const [first, last] of [
      ['tokenizer_source: union', ''],
      ['tokenizer: {source: union}', 'tokenizer_source: base'],
      ['tokenizer_source: ./b', 'tokenizer_source: ./b'],
      ['tokenizer_source: base', ''],
    ] as const) {
      const { code, err } = await run(folder, 'all.yml', both(first, last))
      assert.is(code, 2)
      assert.match(err, /error document-tokenizer: the document 'x' has its own tokenizer/)
    }
    await fine(folder, 'all.yml', both('tokenizer_source: base', 'tokenizer_source: base'))
    await fine(folder, 'all.yml', both('', 'tokenizer_source: base'))
  }))

test('embeddings of unequal rows are merged where all have them, as mergekit crops them; not where rows follow tokens', () =>
  inFolder(async (folder) => {
    model(folder, 'a', 1, 6, { 'vocab.txt': 'u\nv\nw\nx\ny\nz\n' })
    model(folder, 'c', 21, 6)
    model(folder, 'b', 11, 4, { 'vocab.txt': 'u\nv\nw\nx\n' })
    const text = document(undefined, ['./a', './b']).replace('bfloat16', 'float32')
    await fine(folder, 'mk.yml', text)
    assert.match((await terge(['import', 'mk.yml'], folder)).out, 'on_mismatch: crop')
    const [made, a, b] = ['merged', 'a', 'b'].map((name) => valuesOf(folder, name))
    for (let at = 0; at < 30; at++)
      assert.is(made![at], at < 20 ? Math.fround(0.5 * a![at]! + 0.5 * b![at]!) : a![at], `element ${at}`)
    for (const config of [`${text}tokenizer_source: base\n`, document(undefined, ['./a', './c'])]) {
      writeFileSync(path.join(folder, 'other.yml'), config)
      assert.not.match((await terge(['import', 'other.yml'], folder)).out, 'on_mismatch')
    }
  }))

const valuesOf = (folder: string, name: string): Float32Array => {
  const file = bytes(folder, name)
  const length = Number(file.readBigUInt64LE())
  const header = JSON.parse(file.toString('utf8', 8, 8 + length))
  const [from, to] = header['model.embed_tokens.weight'].data_offsets
  return new Float32Array(Uint8Array.from(file.subarray(8 + length + from, 8 + length + to)).buffer)
}

test.run()
