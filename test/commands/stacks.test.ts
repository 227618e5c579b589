/** Stacks of layers through the command: which one is cut, what comes whole, and gradients over each. */

import { readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { RawTensor } from '../support/files.js'
import { inFolder } from '../support/files.js'
import { type Ran, terge } from '../support/terge.js'
import { jsonOf, matrix, valuesOf, weights, writeFolder } from './families.js'

/** Tensors of one layer of each stack, and tensors outside, with numbers that are each model's own. */
function tensorsOf(seed: number, stacks: Readonly<Record<string, number>>, outside: readonly string[]) {
  const tensors: Record<string, RawTensor> = {}
  let next = seed * 1000
  for (const name of outside) tensors[name] = matrix(next++, 4, 3)
  for (const [prefix, depth] of Object.entries(stacks))
    for (let layer = 0; layer < depth; layer++) tensors[`${prefix}.${layer}.mlp.weight`] = matrix(next++, 2, 3)
  return weights(tensors)
}

const TOWERS = { 'model.layers': 4, 'vision_tower.encoder.layers': 6 }
const TOWERS_OUTSIDE = [
  ...['model.embed_tokens.weight', 'model.norm.weight', 'lm_head.weight'],
  ...['vision_tower.post_layernorm.weight', 'multi_modal_projector.linear_1.weight'],
]
const TOWERS_CONFIG = {
  tie_word_embeddings: false,
  text_config: { num_hidden_layers: 4, layer_types: ['a', 'b', 'c', 'd'], rms_norm_eps: 1e-5 },
  vision_config: { num_hidden_layers: 6 },
}

type Stacks = Readonly<Record<string, number>>

async function stacked(
  recipe: string,
  stacks: Stacks,
  outside: readonly string[],
  config: object | string,
  work: (made: { ran: Ran; folder: string; out: string; value: (model: string, name: string) => Float32Array }) => void,
): Promise<void> {
  await inFolder(async (folder) => {
    for (const [index, name] of ['a', 'b'].entries())
      writeFolder(path.join(folder, name), {
        'model.safetensors': tensorsOf(index + 1, stacks, outside),
        'config.json': config,
      })
    const file = path.join(folder, 'recipe.yml')
    writeFolder(folder, { 'recipe.yml': `terge: 1\nmodels: {a: ./a, b: ./b}\n${recipe}\noutput: ./out\n` })
    const ran = await terge(['run', file], folder)
    const value = (model: string, name: string) => valuesOf(path.join(folder, model, 'model.safetensors'), name)
    work({ ran, folder, out: path.join(folder, 'out'), value })
  })
}

const namesOf = (folder: string): string[] => {
  const bytes = readFileSync(path.join(folder, 'model.safetensors'))
  const header = JSON.parse(bytes.toString('utf8', 8, 8 + Number(bytes.readBigUInt64LE())))
  return Object.keys(header).filter((name) => name !== '__metadata__')
}

const depthIn = (folder: string, prefix: string): number =>
  namesOf(folder).filter((name) => name.startsWith(`${prefix}.`)).length

test('beside a vision tower the language model is cut, and the tower comes whole', () =>
  stacked(
    'steps: {s: {stack: [{model: a, layers: [0, 2]}, {model: b, layers: [3, 4]}]}}',
    TOWERS,
    TOWERS_OUTSIDE,
    TOWERS_CONFIG,
    ({ ran, out, value }) => {
      assert.is(ran.code, 0, ran.err)
      assert.is(depthIn(out, 'model.layers'), 3)
      assert.is(depthIn(out, 'vision_tower.encoder.layers'), 6)
      assert.equal(value('out', 'model.layers.2.mlp.weight'), value('b', 'model.layers.3.mlp.weight'))
      for (const name of [
        'vision_tower.encoder.layers.5.mlp.weight',
        'vision_tower.post_layernorm.weight',
        'multi_modal_projector.linear_1.weight',
        'model.embed_tokens.weight',
      ])
        assert.equal(value('out', name), value('a', name), name)
      for (const name of ['model.norm.weight', 'lm_head.weight'])
        assert.equal(value('out', name), value('b', name), name)
      assert.equal(jsonOf(out, 'config.json'), {
        tie_word_embeddings: false,
        text_config: { num_hidden_layers: 3, layer_types: ['a', 'b', 'd'], rms_norm_eps: 1e-5 },
        vision_config: { num_hidden_layers: 6 },
      })
    },
  ))

test('of names the stack, as a key of the stack or of its slices', async () => {
  for (const stack of [
    '{of: vision_tower.encoder.layers, slices: [{model: a, layers: [4, 6]}]}',
    '[{model: a, layers: [4, 6], of: vision_tower.encoder.layers}]',
  ])
    await stacked(`steps: {s: {stack: ${stack}}}`, TOWERS, TOWERS_OUTSIDE, TOWERS_CONFIG, ({ ran, out, value }) => {
      assert.is(ran.code, 0, ran.err)
      assert.is(depthIn(out, 'model.layers'), 4)
      assert.is(depthIn(out, 'vision_tower.encoder.layers'), 2)
      const name = (layer: number) => `vision_tower.encoder.layers.${layer}.mlp.weight`
      assert.equal(value('out', name(1)), value('a', name(5)))
      assert.is(jsonOf(out, 'config.json').vision_config.num_hidden_layers, 2)
      assert.is(jsonOf(out, 'config.json').text_config.num_hidden_layers, 4)
    })
})

test('two stacks of which none is the language model for certain are an error that lists them', async () => {
  const clip = { 'text_model.encoder.layers': 4, 'vision_model.encoder.layers': 6 }
  const t5 = { 'encoder.block': 4, 'decoder.block': 2 }
  for (const stacks of [clip, t5])
    await stacked('steps: {s: {stack: [{model: a, layers: [0, 2]}]}}', stacks, ['x.weight'], {}, ({ ran }) => {
      assert.is(ran.code, 2)
      assert.match(ran.err, 'ambiguous-layers')
      for (const [prefix, depth] of Object.entries(stacks)) assert.match(ran.err, `${prefix} (${depth})`)
    })
  await stacked(
    'steps: {s: {stack: {of: encoder.blok, slices: [{model: a, layers: [0, 2]}]}}}',
    t5,
    ['x.weight'],
    {},
    ({ ran }) => {
      assert.is(ran.code, 2)
      assert.match(ran.err, /has no layers under 'encoder.blok'/)
    },
  )
})

test('one step for each stack: encoder and decoder, each with its own count', () =>
  stacked(
    `steps:
  e: {stack: {of: encoder.block, slices: [{model: a, layers: [0, 3]}]}}
  d: {stack: {of: decoder.block, slices: [{model: e, layers: [0, 2]}, {model: b, layers: [1, 2]}]}}`,
    { 'encoder.block': 4, 'decoder.block': 2 },
    ['shared.weight', 'encoder.final_layer_norm.weight', 'decoder.final_layer_norm.weight', 'lm_head.weight'],
    { num_layers: 4, num_decoder_layers: 2, tie_word_embeddings: false },
    ({ ran, out, value }) => {
      assert.is(ran.code, 0, ran.err)
      assert.is(depthIn(out, 'encoder.block'), 3)
      assert.is(depthIn(out, 'decoder.block'), 3)
      assert.equal(jsonOf(out, 'config.json'), { num_layers: 3, num_decoder_layers: 3, tie_word_embeddings: false })
      const from = (name: string, model: string) => assert.equal(value('out', name), value(model, name), name)
      from('encoder.final_layer_norm.weight', 'a')
      from('decoder.final_layer_norm.weight', 'b')
      from('lm_head.weight', 'b')
      from('shared.weight', 'a')
    },
  ))

test('a layer that guesses further tokens stays behind the last one and is none of the layers', () =>
  stacked(
    'steps: {s: {stack: [{model: a, layers: [1, 3]}, {model: b, layers: [2, 3]}, {model: b, layers: [0, 1]}]}}',
    { 'model.layers': 4 },
    ['model.embed_tokens.weight', 'model.norm.weight'],
    { num_hidden_layers: 3, num_nextn_predict_layers: 1 },
    ({ ran, out, value }) => {
      assert.is(ran.code, 0, ran.err)
      assert.is(depthIn(out, 'model.layers'), 5)
      assert.equal(value('out', 'model.layers.4.mlp.weight'), value('a', 'model.layers.3.mlp.weight'))
      assert.equal(value('out', 'model.layers.2.mlp.weight'), value('b', 'model.layers.2.mlp.weight'))
      assert.equal(jsonOf(out, 'config.json'), { num_hidden_layers: 4, num_nextn_predict_layers: 1 })
    },
  ))

test('all layers in their order leave the configuration as it is, byte for byte', async () => {
  const text = '{"num_hidden_layers": 4.0e0, "vision_config": {"depth":6}, "some_layer_interval":3,\n "x": 1e-05}'
  const stacks = { 'model.layers': 4, 'visual.blocks': 6 }
  const recipe = 'steps: {s: {stack: [{model: a, layers: [0, 4]}]}}'
  await stacked(recipe, stacks, ['model.norm.weight'], text, ({ ran, out, folder }) => {
    assert.is(ran.code, 0, ran.err)
    assert.is(readFileSync(path.join(out, 'config.json'), 'utf8'), text)
    assert.equal(namesOf(out).sort(), namesOf(path.join(folder, 'a')).sort())
  })
})

test('a configuration that can not follow is an error; a single file is written without one', async () => {
  const config = { num_hidden_layers: 4, full_attention_interval: 4 }
  const recipe = 'steps: {s: {stack: [{model: a, layers: [2, 4]}]}}'
  await stacked(recipe, { 'model.layers': 4 }, ['model.norm.weight'], config, ({ ran }) => {
    assert.is(ran.code, 2)
    assert.match(ran.err, /bad-layers.*full_attention_interval: it applies to one in 4 layers/)
    assert.match(ran.err, /write a single file/)
  })
  await stacked(`${recipe}\nseed: 1`, { 'model.layers': 4 }, ['model.norm.weight'], {}, ({ ran }) => {
    assert.is(ran.code, 2)
    assert.match(ran.err, /no key counts the layers of model.layers/)
  })
})

test('layers that no configuration can explain are a warning where none is written', () =>
  inFolder(async (folder) => {
    const bias = 'layer.0.SelfAttention.relative_attention_bias.weight'
    const blocks = ['encoder', 'decoder'].flatMap((side) =>
      [0, 1, 2].map((layer) => [`${side}.block.${layer}.layer.0.SelfAttention.q.weight`, matrix(layer, 2, 3)] as const),
    )
    const biases = ['encoder', 'decoder'].map((side) => [`${side}.block.0.${bias}`, matrix(9, 2, 2)] as const)
    writeFolder(folder, { 'a.safetensors': weights(Object.fromEntries([...blocks, ...biases])) })
    const take = async (layers: string): Promise<Ran> => {
      const stack = `{of: encoder.block, slices: [{model: a, layers: ${layers}}]}`
      const recipe = `terge: 1\nmodels: {a: a.safetensors}\nsteps: {s: {stack: ${stack}}}\noutput: o.safetensors\n`
      writeFolder(folder, { 'recipe.yml': recipe })
      return terge(['run', path.join(folder, 'recipe.yml'), '--force'], folder)
    }
    const without = await take('[1, 3]')
    assert.is(without.code, 0, without.err)
    assert.match(without.err, /warning bad-layers: .*encoder.block.*layer 0 .*without layer.0.SelfAttention.relative/)
    const first = await take('[0, 2]')
    assert.not.match(first.err, /bad-layers/)
  }))

test('gradients run over each stack for itself, and not over the layers behind it', async () => {
  const recipe = 'merge: {method: linear, models: [a, b], weights: {a: [1, 0], b: [0, 1]}}'
  const stacks = { 'model.layers': 5, 'vision_tower.encoder.layers': 6 }
  const config = { num_hidden_layers: 4, num_nextn_predict_layers: 1, vision_config: { num_hidden_layers: 6 } }
  const outside = ['model.norm.weight', 'projector.mlp.0.weight', 'projector.mlp.2.weight']
  await stacked(recipe, stacks, outside, config, ({ ran, value }) => {
    assert.is(ran.code, 0, ran.err)
    const share = (name: string): number => {
      const [a, b, made] = ['a', 'b', 'out'].map((model) => value(model, name)[0]!) as [number, number, number]
      return Number(((made - a) / (b - a)).toFixed(4))
    }
    const over = (prefix: string, depth: number): number[] =>
      Array.from({ length: depth }, (_, layer) => share(`${prefix}.${layer}.mlp.weight`))
    assert.equal(over('model.layers', 5), [0, 0.3333, 0.6667, 1, 0])
    assert.equal(over('vision_tower.encoder.layers', 6), [0, 0.2, 0.4, 0.6, 0.8, 1])
    assert.equal(outside.map(share), [0, 0, 0])
  })
})

test('mergekit modules: encoder, decoder and what has no layers, each for itself', () =>
  inFolder(async (folder) => {
    const stacks = { 'encoder.block': 4, 'decoder.block': 2 }
    const outside = [
      'shared.weight',
      'encoder.final_layer_norm.weight',
      'decoder.final_layer_norm.weight',
      'lm_head.weight',
    ]
    for (const [index, name] of ['a', 'b'].entries())
      writeFolder(path.join(folder, name), {
        'model.safetensors': tensorsOf(index + 1, stacks, outside),
        'config.json': { num_layers: 4, num_decoder_layers: 2, tie_word_embeddings: false },
      })
    writeFolder(folder, {
      'mergekit.yml': `merge_method: passthrough
modules:
  encoder: {slices: [{sources: [{model: a, layer_range: [0, 3]}]}, {sources: [{model: b, layer_range: [2, 4]}]}]}
  decoder: {slices: [{sources: [{model: b, layer_range: [0, 2]}]}, {sources: [{model: a, layer_range: [1, 2]}]}]}
  shared: {slices: [{sources: [{model: b, layer_range: [0, 0]}]}]}
`,
    })
    const ran = await terge(['run', 'mergekit.yml', '-o', './out'], folder)
    assert.is(ran.code, 0, ran.err)
    const out = path.join(folder, 'out')
    const value = (model: string, name: string) => valuesOf(path.join(folder, model, 'model.safetensors'), name)
    assert.equal(jsonOf(out, 'config.json'), { num_layers: 5, num_decoder_layers: 3, tie_word_embeddings: false })
    for (const [name, model, own] of [
      ['encoder.block.4.mlp.weight', 'b', 'encoder.block.3.mlp.weight'],
      ['decoder.block.0.mlp.weight', 'b', 'decoder.block.0.mlp.weight'],
      ['decoder.block.2.mlp.weight', 'a', 'decoder.block.1.mlp.weight'],
      ['encoder.final_layer_norm.weight', 'b', undefined],
      ['decoder.final_layer_norm.weight', 'a', undefined],
      ['lm_head.weight', 'a', undefined],
      ['shared.weight', 'b', undefined],
    ] as const)
      assert.equal(value('out', name), value(model, own ?? name), name)
    writeFolder(folder, {
      'unknown.yml':
        'merge_method: passthrough\nmodules: {encodr: {slices: [{sources: [{model: a, layer_range: [0, 3]}]}]}}\n',
    })
    const wrong = await terge(['run', 'unknown.yml', '-o', './other'], folder)
    assert.is(wrong.code, 2)
    assert.match(wrong.err, 'unknown-module')
  }))

test('mergekit slices of no layers lend embeddings, head and configuration', () =>
  inFolder(async (folder) => {
    for (const [index, name] of ['a', 'b'].entries())
      writeFolder(path.join(folder, name), {
        'model.safetensors': tensorsOf(index + 1, { 'model.layers': 3 }, [
          'model.embed_tokens.weight',
          'lm_head.weight',
        ]),
        'config.json': { num_hidden_layers: 3, tie_word_embeddings: false },
      })
    const slices = (...ranges: string[]) =>
      `merge_method: passthrough\nslices:\n${ranges.map((one) => `- sources: [{${one}}]`).join('\n')}\n`
    writeFolder(folder, {
      'first.yml': slices('model: a, layer_range: [0, 0]', 'model: b, layer_range: [0, 2]'),
      'none.yml': slices('model: a, layer_range: [0, 0]'),
    })
    const value = (model: string, name: string) => valuesOf(path.join(folder, model, 'model.safetensors'), name)
    for (const [name, depth] of [
      ['first', 2],
      ['none', 0],
    ] as const) {
      const ran = await terge(['run', `${name}.yml`, '-o', `./${name}`], folder)
      assert.is(ran.code, 0, ran.err)
      assert.is(jsonOf(path.join(folder, name), 'config.json').num_hidden_layers, depth)
      assert.equal(value(name, 'model.embed_tokens.weight'), value('a', 'model.embed_tokens.weight'))
    }
    assert.equal(value('first', 'lm_head.weight'), value('b', 'lm_head.weight'))
  }))

test('what is made of a stack has its configuration too', () =>
  stacked(
    `steps:
  s: {stack: [{model: a, layers: [0, 3]}]}
  t: {stack: [{model: b, layers: [0, 3]}]}
  i: {interpolate: {from: s, to: t, points: 2}}`,
    { 'model.layers': 4 },
    ['model.norm.weight'],
    { num_hidden_layers: 4 },
    ({ ran, out }) => {
      assert.is(ran.code, 0, ran.err)
      for (const point of readdirSync(out).filter((name) => name !== 'lineage.json'))
        assert.is(jsonOf(path.join(out, point), 'config.json').num_hidden_layers, 3)
    },
  ))

test('models of other depth are an error in a mergekit configuration', () =>
  inFolder(async (folder) => {
    for (const [index, name] of ['a', 'b'].entries())
      writeFolder(path.join(folder, name), {
        'model.safetensors': tensorsOf(index + 1, { 'model.layers': 3 + index }, ['model.norm.weight']),
      })
    writeFolder(folder, {
      'mergekit.yml':
        'merge_method: linear\nmodels: [{model: a, parameters: {weight: 1}}, {model: b, parameters: {weight: 1}}]\n',
    })
    const refused = await terge(['run', 'mergekit.yml', '-o', './other'], folder)
    assert.is(refused.code, 2)
    assert.match(refused.err, /error bad-layers: 'b' has 4 layers/)
  }))

test('inspect counts each stack', () =>
  inFolder(async (folder) => {
    writeFolder(folder, { 'm/model.safetensors': tensorsOf(1, TOWERS, TOWERS_OUTSIDE) })
    const { out } = await terge(['inspect', path.join(folder, 'm'), '--json'])
    assert.equal(JSON.parse(out).stacks, TOWERS)
    const text = await terge(['inspect', path.join(folder, 'm')])
    assert.match(text.out, /layers +4 \(model\.layers\), 6 \(vision_tower\.encoder\.layers\)/)
  }))

test.run()
