/** Unusual forms of configurations that mergekit accepts, and their meaning there. */

import path from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { loadRecipe } from '../../src/recipe/load.js'
import { matrix, valuesOf, weights, writeFolder } from '../commands/families.js'
import { inFolder } from '../support/files.js'
import { terge } from '../support/terge.js'
import { mergeOf } from './helpers.js'

const test = suite('forms of mergekit configurations')

const LISTED = 'models:\n  - {model: org/a, parameters: {weight: 1}}\n  - {model: org/b, parameters: {weight: 1}}\n'

const codesOf = (text: string, options = {}): string[] =>
  loadRecipe('r.yml', { text, ...options }).diagnostics.map(({ severity, code }) => `${severity} ${code}`)

test('a share of elements above 1 counts as 1, like a density', () => {
  const text = `merge_method: sce\nbase_model: org/base\n${LISTED.replaceAll('weight: 1', '')}parameters: {select_topk: 2}\n`
  assert.equal(mergeOf(loadRecipe('r.yml', { text }).recipe!).settings.parameters.get('select_topk')?.value, {
    kind: 'gradient',
    value: [1],
  })
  assert.equal(codesOf(text), ['warning above-most'])
})

test('unknown keys of a tokenizer and of its tokens are ignored with a warning', () => {
  const text = `merge_method: linear\n${LISTED}tokenizer:
  source: union
  sauce: 1
  tokens:
    x: {source: {kind: model_token, model: org/a, token: y, tokn: z}, force: true, forced: 1}
    y: {source: org/b}
`
  assert.equal(codesOf(text), ['warning ignored-key', 'warning ignored-key', 'warning ignored-key'])
  assert.ok(codesOf(text, { strict: true }).includes('error ignored-key'))
  const { recipe } = loadRecipe('r.yml', { text })
  assert.equal([...recipe!.tokenizer!.tokens.keys()], ['x', 'y'])
  assert.is(recipe!.tokenizer!.tokens.get('x')!.force, true)
})

test('quoted numbers are decimal, as in Python', () => {
  const weight = (written: string) => {
    const { recipe } = loadRecipe('r.yml', {
      text: `merge_method: linear\n${LISTED.replace('weight: 1', `weight: ${written}`)}`,
    })
    return recipe && mergeOf(recipe).settings.weights?.[0]
  }
  for (const [written, value] of [
    ['"1_0"', 10],
    ['" 1.5 "', 1.5],
    ['"1e-1"', 0.1],
    ['1e-1', 0.1],
    ['"+.5"', 0.5],
    ['"2."', 2],
  ] as const)
    assert.equal(weight(written), [value], written)
  for (const written of ['"0x10"', '"0o10"', '0o10', '"0b1"', '""', '"1_"', '"inf"', '"1 2"'])
    assert.is(weight(written), undefined, written)
})

test('an empty dtype or chat template counts as absent', () => {
  const text = `merge_method: linear\n${LISTED}dtype: bfloat16\nout_dtype: ""\nchat_template: ""\n`
  const { recipe, diagnostics } = loadRecipe('r.yml', { text })
  assert.equal(diagnostics, [])
  assert.is(recipe!.outputs[0]!.dtype, 'BF16')
})

test('a model in a folder named base can give the tokenizer', () => {
  const text = `merge_method: linear\n${LISTED}tokenizer_source: org/base\n`
  const { recipe } = loadRecipe('r.yml', { text })
  assert.is(recipe!.tokenizer!.source, 'base-2')
  const model = recipe!.models.get('base-2')
  assert.ok(JSON.stringify(model).includes('org/base'))
  const own = loadRecipe('r.yml', { text: text.replace('org/base', 'base') })
  assert.is(own.recipe!.tokenizer!.source, 'base')
})

const LAYERS = ['model.layers.0.mlp.weight', 'model.layers.1.mlp.weight']
const NAMES = ['model.embed_tokens.weight', ...LAYERS, 'model.norm.weight']

/** Runs a configuration over three models of two layers. */
const ran = (config: string, work: (value: (model: string, name: string) => Float32Array, err: string) => void) =>
  inFolder(async (folder) => {
    for (const [seed, model] of ['base', 'a', 'b'].entries())
      writeFolder(path.join(folder, model), {
        'model.safetensors': weights(
          Object.fromEntries(NAMES.map((name, index) => [name, matrix(seed * 100 + index, 6, 5)])),
        ),
        'config.json': { num_hidden_layers: 2, tie_word_embeddings: true, of: model },
      })
    writeFolder(folder, { 'm.yml': config })
    const { code, err } = await terge(['run', path.join(folder, 'm.yml'), '-o', path.join(folder, 'out')], folder)
    assert.is(code, 0, err)
    work((model, name) => valuesOf(path.join(folder, model, 'model.safetensors'), name), err)
  })

for (const method of ['ties', 'dare_linear', 'sce', 'ram', 'model_stock', 'nearswap'])
  test(`${method} with only the base returns the base`, () =>
    ran(`merge_method: ${method}\nbase_model: ./base\nmodels: [{model: ./base}]\nparameters: {t: 0.1}\n`, (value) => {
      for (const name of NAMES) assert.equal(value('out', name), value('base', name), name)
    }))

test('a slice of nearswap with only the base is the layer of the base', () =>
  ran(
    `merge_method: nearswap
base_model: ./base
parameters: {t: 1000}
slices:
  - sources: [{model: ./base, layer_range: [0, 1]}, {model: ./a, layer_range: [0, 1]}]
  - sources: [{model: ./base, layer_range: [1, 2]}]
`,
    (value) => {
      assert.equal(value('out', LAYERS[0]!), value('a', LAYERS[0]!))
      assert.equal(value('out', LAYERS[1]!), value('base', LAYERS[1]!))
    },
  ))

for (const method of ['della', 'della_linear'])
  for (const rescale of [true, false])
    test(`${method}: density 0 drops a model, rescale ${rescale}`, () =>
      ran(
        `merge_method: ${method}
base_model: ./base
parameters: {rescale: ${rescale}, normalize: false}
models:
  - {model: ./a, parameters: {weight: 1, density: 0}}
  - {model: ./b, parameters: {weight: 0.5}}
`,
        (value) => {
          for (const name of NAMES) {
            const [got, base, b] = [value('out', name), value('base', name), value('b', name)]
            for (const [i, x] of got.entries()) assert.ok(Math.abs(x - (base[i]! + b[i]!) / 2) < 1e-6, `${name} ${i}`)
          }
        },
      ))

for (const gamma of [0, 0.01])
  test(`breadcrumbs: with gamma ${gamma}, less than one element, only the smallest elements are dropped`, () =>
    ran(
      `merge_method: breadcrumbs
base_model: ./base
models: [{model: ./a, parameters: {weight: 1, density: 0.5, gamma: ${gamma}}}]
`,
      (value) => {
        for (const name of NAMES) {
          const [got, base, a] = [value('out', name), value('base', name), value('a', name)]
          const sizes = Array.from(a, (x, i) => Math.abs(Math.fround(x - base[i]!)))
          const least = [...sizes].sort((x, y) => y - x)[14]!
          for (const [i, x] of got.entries())
            assert.ok(Math.abs(x - (sizes[i]! >= least ? a[i]! : base[i]!)) < 1e-6, `${name} ${i}`)
        }
      },
    ))

test('tensors after the layers are merged from all sources of the last slice', () =>
  ran(
    `merge_method: linear
slices:
  - sources: [{model: ./base, layer_range: [0, 1], parameters: {weight: 1}}]
  - sources:
      - {model: ./a, layer_range: [1, 2], parameters: {weight: 1}}
      - {model: ./b, layer_range: [1, 2], parameters: {weight: 3}}
`,
    (value) => {
      const [got, a, b] = ['out', 'a', 'b'].map((model) => value(model, 'model.norm.weight'))
      for (const [i, x] of got!.entries()) assert.ok(Math.abs(x - (a![i]! + 3 * b![i]!) / 4) < 1e-6)
      assert.equal(value('out', NAMES[0]!), value('base', NAMES[0]!))
    },
  ))

test('a stack whose first slice lacks the base has a warning about its configuration', () =>
  ran(
    `merge_method: passthrough
base_model: ./base
slices:
  - sources: [{model: ./a, layer_range: [0, 1]}]
  - sources: [{model: ./base, layer_range: [1, 2]}]
`,
    (value, err) => {
      assert.match(err, /warning base-aside: configuration and tokenizer come from '\.\/a'/)
      assert.equal(value('out', LAYERS[1]!), value('base', LAYERS[1]!))
    },
  ))

test.run()
