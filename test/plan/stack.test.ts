import { readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { standsBeforeLayers } from '../../src/networks/stack.js'
import { plan, validate } from '../../src/session/plan.js'
import { run } from '../../src/session/run.js'
import { readTensors } from '../recipe/tensors.js'
import { inFolder } from '../support/files.js'
import { fixture } from '../support/terge.js'

const models = `terge: 1\nmodels: {a: ${fixture('lm-f32/prose')}, b: ${fixture('lm-f32/c')}}\n`

/** Runs a recipe into a folder and hands on what was written. */
const merged = <T>(recipe: string, work: (out: string) => T): Promise<T> =>
  inFolder(async (folder) => {
    const file = path.join(folder, 'recipe.yml')
    writeFileSync(file, `${models}${recipe}`)
    const output = path.join(folder, 'out')
    await run(await plan(file, { output }), { threads: 1, sync: false })
    return work(output)
  })

const codes = async (recipe: string): Promise<string[]> => {
  const { diagnostics } = await validate('recipe.yml', { text: `${models}${recipe}`, output: 'out' })
  return diagnostics.map(
    ({ severity, code, place, hint }) => `${severity} ${code} ${place?.line}:${place?.column} ${hint ?? ''}`,
  )
}

test('stacked layers are renumbered and may overlap; tensors outside come from the first and last slice', () =>
  merged(
    'steps: {tall: {stack: [{model: a, layers: [0, 3]}, {model: b, layers: [1, 4]}, {model: a, layers: [2, 3]}, {model: b, layers: [3, 4]}]}}\n',
    (out) => {
      const ours = readTensors(path.join(out, 'model.safetensors'))
      const [a, b] = ['prose', 'c'].map((name) => readTensors(fixture(`lm-f32/${name}/model.safetensors`))) as [
        ReturnType<typeof readTensors>,
        ReturnType<typeof readTensors>,
      ]
      const wanted = [
        ...[0, 1, 2].map((layer) => [a, layer]),
        ...[1, 2, 3].map((layer) => [b, layer]),
        [a, 2],
        [b, 3],
      ] as [typeof a, number][]
      assert.is(ours.size, 3 + 9 * wanted.length)
      for (const [name, tensor] of a)
        if (name.includes('.0.'))
          for (const [layer, [from, own]] of wanted.entries())
            assert.equal(ours.get(name.replace('.0.', `.${layer}.`)), from.get(name.replace('.0.', `.${own}.`)))
        else assert.ok(tensor)
      assert.equal(ours.get('model.embed_tokens.weight'), a.get('model.embed_tokens.weight'))
      assert.equal(ours.get('lm_head.weight'), b.get('lm_head.weight'))
      assert.equal(ours.get('model.norm.weight'), b.get('model.norm.weight'))
      assert.is(JSON.parse(readFileSync(path.join(out, 'config.json'), 'utf8')).num_hidden_layers, 8)
      const { tensors } = JSON.parse(readFileSync(path.join(out, 'lineage.json'), 'utf8'))
      const { method, sources, reason } = tensors['model.layers.4.mlp.up_proj.weight']
      assert.equal(
        [method, sources, reason],
        ['copy', [{ model: 'b', tensor: 'model.layers.2.mlp.up_proj.weight', weight: null }], 'stacked'],
      )
    },
  ))

test('a stack can be merged and stacked again, with gradients over its own layers', () =>
  merged(
    `steps:
  low: {stack: [{model: a, layers: [0, 2]}]}
  high: {stack: [{model: b, layers: [2, 4]}]}
  mixed: {merge: {method: linear, base: low, models: [low, high], weights: {low: [1, 0], high: [0, 1]}}}
  twice: {stack: [{model: mixed, layers: [1, 2]}, {model: mixed, layers: [0, 1]}]}
`,
    (out) => {
      const ours = readTensors(path.join(out, 'model.safetensors'))
      const a = readTensors(fixture('lm-f32/prose/model.safetensors'))
      const b = readTensors(fixture('lm-f32/c/model.safetensors'))
      const name = (layer: number): string => `model.layers.${layer}.self_attn.q_proj.weight`
      assert.equal(ours.get(name(0)), b.get(name(3)))
      assert.equal(ours.get(name(1)), a.get(name(0)))
      assert.not(ours.has(name(2)))
      assert.is(JSON.parse(readFileSync(path.join(out, 'config.json'), 'utf8')).num_hidden_layers, 2)
    },
  ))

test('ranges beyond a model and empty ranges are errors', async () => {
  assert.equal(await codes('steps: {s: {stack: [{model: a, layers: [0, 2]}, {model: b, layers: [2, 5]}]}}\n'), [
    'error bad-layers 3:68 ranges are half-open: [0, 4] selects all layers',
  ])
  const [fault] = await codes('steps: {s: {stack: [{model: a, layers: [2, 2]}]}}\n')
  assert.match(fault ?? '', 'error bad-value 3:40')
})

test('tensors outside the layers belong to the first or the last slice', () => {
  for (const name of [
    'model.embed_tokens.weight',
    'transformer.wte.weight',
    'transformer.wpe.weight',
    'bert.embeddings.LayerNorm.weight',
    'transformer.word_embeddings_layernorm.weight',
    'gpt_neox.embed_in.weight',
    'model.decoder.embed_positions.weight',
    'vit.embeddings.cls_token',
    'backbone.embeddings.weight',
  ])
    assert.ok(standsBeforeLayers(name), name)
  for (const name of [
    'model.norm.weight',
    'lm_head.weight',
    'embed_out.weight',
    'transformer.ln_f.bias',
    'bert.pooler.dense.weight',
    'classifier.weight',
  ])
    assert.not(standsBeforeLayers(name), name)
})

test.run()
