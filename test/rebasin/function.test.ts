import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { Fault } from '../../src/core/diagnostics.js'
import { axisMaps, compose, gather, identity, invert } from '../../src/rebasin/apply.js'
import { inferSpec } from '../../src/rebasin/infer/index.js'
import { cycleConsistent, mergeMany } from '../../src/rebasin/joint.js'
import { weightMatching } from '../../src/rebasin/match.js'
import { generator } from '../../src/rebasin/order.js'
import { orthogonalChanges } from '../../src/rebasin/orthogonal/changes.js'
import { orthogonalMatching } from '../../src/rebasin/orthogonal/matching.js'
import { applyChanges } from '../../src/rebasin/orthogonal/products.js'
import { readSpec, type SpecText, writeSpec } from '../../src/rebasin/spec.js'
import { createThreadTeam } from '../../src/rebasin/team/team.js'
import { aligned, convolve, linear, mlp, type Picture, rectify } from './forward.js'
import { llama } from './llama.js'
import { type Model, sourceOf } from './load.js'
import { anyPermutation, randomModel as model, near } from './random.js'

const pool = createThreadTeam(1)

const CONFIG = {
  model_type: 'llama',
  hidden_size: 16,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  num_hidden_layers: 2,
  rope_theta: 10000,
  rms_norm_eps: 1e-5,
}
const lm = (seed: number): Model => {
  const shapes: Record<string, readonly number[]> = {
    'lm_head.weight': [11, 16],
    'model.embed_tokens.weight': [11, 16],
    'model.norm.weight': [16],
  }
  for (const layer of [0, 1]) {
    const at = `model.layers.${layer}`
    Object.assign(shapes, {
      [`${at}.input_layernorm.weight`]: [16],
      [`${at}.post_attention_layernorm.weight`]: [16],
      [`${at}.self_attn.q_proj.weight`]: [32, 16],
      [`${at}.self_attn.q_proj.bias`]: [32],
      [`${at}.self_attn.k_proj.weight`]: [16, 16],
      [`${at}.self_attn.k_proj.bias`]: [16],
      [`${at}.self_attn.v_proj.weight`]: [16, 16],
      [`${at}.self_attn.v_proj.bias`]: [16],
      [`${at}.self_attn.o_proj.weight`]: [16, 32],
      [`${at}.mlp.gate_proj.weight`]: [24, 16],
      [`${at}.mlp.up_proj.weight`]: [24, 16],
      [`${at}.mlp.down_proj.weight`]: [16, 24],
    })
  }
  return model(seed, shapes)
}
const TOKENS = [1, 5, 3, 3, 9, 0, 2]

test('llama with grouped-query attention: any permutation of every group keeps the function', () => {
  const one = lm(1)
  const { spec, family } = inferSpec(sourceOf(one, CONFIG))
  assert.is(family, 'llama')
  assert.equal(spec.kept, {})
  const before = llama(one, CONFIG, TOKENS)
  const after = llama(aligned(spec, one, anyPermutation(spec, 2)), CONFIG, TOKENS)
  before.forEach((logits, place) => {
    near(logits, after[place]!, 1e-9)
  })
})

test('matching recovers a hidden permutation of a llama, including heads and their insides', async () => {
  const one = lm(3)
  const { spec } = inferSpec(sourceOf(one, CONFIG))
  const hidden = aligned(spec, one, anyPermutation(spec, 4))
  const { permutations, similarityAfter } = await weightMatching(spec, sourceOf(one), sourceOf(hidden), pool)
  assert.ok(similarityAfter > 0.999)
  for (const [name, tensor] of aligned(spec, hidden, permutations)) assert.equal(tensor.values, one.get(name)!.values)
})

test('orthogonal maps keep the function and take the norms of the first model', async () => {
  const [one, other] = [lm(5), lm(6)]
  const { maps, similarityAfter, similarityBefore } = await orthogonalMatching(
    sourceOf(one, CONFIG),
    sourceOf(other, CONFIG),
    pool,
  )
  assert.ok(similarityAfter > similarityBefore)
  const moved: Model = new Map()
  for (const [name, tensor] of other) {
    const values = await applyChanges(tensor.values, tensor.shape, orthogonalChanges(maps, name, tensor.shape), pool)
    moved.set(name, { ...tensor, values })
  }
  near(moved.get('model.norm.weight')!.values, one.get('model.norm.weight')!.values, 1e-6)
  const [before, after] = [llama(other, CONFIG, TOKENS), llama(moved, CONFIG, TOKENS)]
  before.forEach((logits, place) => {
    near(logits, after[place]!, 1e-4)
  })
})

test('convolution, depthwise convolution, flattening and linear layers keep the function', () => {
  const net = model(7, {
    'features.0.weight': [6, 1, 3, 3],
    'features.0.bias': [6],
    'features.2.weight': [6, 1, 3, 3],
    'features.2.bias': [6],
    'features.4.weight': [8, 6, 3, 3],
    'classifier.0.weight': [10, 8 * 16],
    'classifier.0.bias': [10],
    'classifier.2.weight': [3, 10],
  })
  const { spec } = inferSpec(sourceOf(net))
  assert.equal(Object.keys(spec.groups), ['features.0', 'features.4', 'classifier.0'])
  const run = (weights: Model) => {
    const random = generator(8)
    let x: Picture = { data: Float64Array.from({ length: 16 }, () => random()), channels: 1, size: 4 }
    x = rectify(convolve(weights, 'features.0', x))
    x = rectify(convolve(weights, 'features.2', x, 1, 6))
    x = rectify(convolve(weights, 'features.4', x))
    return mlp(weights, ['classifier.0', 'classifier.2'], x.data)
  }
  near(run(net), run(aligned(spec, net, anyPermutation(spec, 9))), 1e-9)
})

test('a grouped convolution and a possible GroupNorm keep their order, with the reason', () => {
  const net = model(1, {
    'c1.weight': [8, 3, 3, 3],
    'c2.weight': [8, 4, 3, 3],
    'c3.weight': [5, 8, 3, 3],
    'c4.weight': [2, 5, 1, 1],
    'n3.weight': [5],
    'n3.bias': [5],
  })
  const { spec } = inferSpec(sourceOf(net))
  assert.equal(spec.parts, [])
  assert.match(spec.kept.c1!, 'grouped')
  assert.match(spec.kept.c3!, 'GroupNorm')
})

test('gpt2: fused queries, keys and values', () => {
  const net = model(1, {
    'wte.weight': [9, 8],
    'wpe.weight': [4, 8],
    'h.0.ln_1.weight': [8],
    'h.0.attn.c_attn.weight': [8, 24],
    'h.0.attn.c_attn.bias': [24],
    'h.0.attn.c_proj.weight': [8, 8],
    'h.0.mlp.c_fc.weight': [8, 32],
    'h.0.mlp.c_proj.weight': [32, 8],
  })
  const { spec } = inferSpec(sourceOf(net, { n_head: 2, architectures: ['GPT2LMHeadModel'] }))
  const text = writeSpec(spec, net)
  assert.equal(text.tensors['h.0.attn.c_attn.weight'], ['hidden', ['h.0.kv*h.0.qk', 'h.0.kv*h.0.qk', 'h.0.kv*h.0.v']])
  assert.equal(readSpec(text, net), spec)
  // Scores of head h are unchanged up to the order of heads when queries and keys move together.
  const moved = aligned(spec, net, anyPermutation(spec, 3))
  const x = Float64Array.from({ length: 8 }, (_, i) => i - 3.5)
  const scores = (weights: Model) => {
    const row = weights.get('h.0.attn.c_attn.weight')!.values
    const order = axisMaps(spec, anyPermutation(spec, 3), 'wte.weight', [9, 8])[0]!.map
    const input = weights === moved ? x.map((_, i) => x[order[i]!]!) : x
    const out = Float64Array.from({ length: 24 }, (_, j) =>
      input.reduce((sum, value, i) => sum + value * row[i * 24 + j]!, 0),
    )
    return [0, 1]
      .map((h) => [0, 1, 2, 3].reduce((sum, d) => sum + out[h * 4 + d]! * out[8 + h * 4 + d]!, 0))
      .sort((a, b) => a - b)
  }
  near(scores(net), scores(moved), 1e-9)
})

test('an unknown tensor freezes the residual stream and its own module', () => {
  const net = lm(1)
  net.set('model.layers.1.self_attn.surprise', { dtype: 'F32', shape: [16], values: new Float32Array(16) })
  const { spec } = inferSpec(sourceOf(net, CONFIG))
  assert.not.ok(spec.groups.hidden)
  assert.not.ok(spec.groups['layers.1.kv'])
  assert.ok(spec.groups['layers.0.kv'])
  assert.match(spec.kept.hidden!, 'surprise')
})

test('without a config, a transformer keeps its heads and the rest moves', () => {
  const { spec } = inferSpec(sourceOf(lm(1)))
  assert.equal(Object.keys(spec.groups), ['hidden', 'layers.0.ffn', 'layers.1.ffn'])
  assert.match(spec.kept['layers.0.kv']!, 'config.json')
})

test('without a head, the residual stream is what a model gives, and keeps its order', () => {
  const net = (names: string) => {
    const shapes: Record<string, readonly number[]> = { [`${names}wte.weight`]: [9, 8], [`${names}wpe.weight`]: [4, 8] }
    for (const [part, shape] of Object.entries({ 'attn.c_attn': [8, 24], 'attn.c_proj': [8, 8], 'mlp.c_fc': [8, 32] }))
      shapes[`${names}h.0.${part}.weight`] = shape
    return model(1, shapes)
  }
  const moves = (names: string, config: Record<string, unknown>) =>
    'hidden' in inferSpec(sourceOf(net(names), config)).spec.groups
  assert.equal(moves('', {}), false)
  assert.equal(moves('', { architectures: ['GPT2Model'] }), false)
  assert.equal(moves('transformer.', { architectures: ['GPT2Model'] }), false)
  assert.equal(moves('', { architectures: ['GPT2LMHeadModel'] }), true)
  assert.equal(moves('transformer.', {}), true)
})

test('names of GPT-2 with layers of nn.Linear: the sizes tell how they are stored, or nothing moves', () => {
  const net = (wide: number, rows: readonly number[] = [24, 8]) =>
    model(1, {
      'transformer.wte.weight': [9, 8],
      'transformer.h.0.attn.c_attn.weight': rows,
      'transformer.h.0.attn.c_proj.weight': [8, 8],
      'transformer.h.0.mlp.c_fc.weight': [wide, 8],
      'transformer.h.0.mlp.c_proj.weight': [8, wide],
    })
  const { spec } = inferSpec(sourceOf(net(32), { n_head: 2 }))
  const { tensors } = writeSpec(spec, net(32))
  assert.equal(tensors['transformer.h.0.mlp.c_fc.weight'], ['h.0.ffn', 'hidden'])
  assert.equal(tensors['transformer.h.0.attn.c_proj.weight'], ['hidden', 'h.0.kv*h.0.v'])
  // Without a table of positions, queries and keys may be rotated.
  assert.not.ok(spec.groups['h.0.qk'])
  assert.equal(writeSpec(inferSpec(sourceOf(net(8))).spec, net(8)).tensors['transformer.h.0.mlp.c_fc.weight'], [
    'h.0.ffn',
    'hidden',
  ])
  // Layers that contradict each other.
  assert.equal(inferSpec(sourceOf(net(32, [8, 24]))).spec.parts, [])
})

test('the model type and unknown tensors show whether positions rotate queries and keys', () => {
  const shapes: Record<string, readonly number[]> = {
    'r.embeddings.word_embeddings.weight': [9, 8],
    'classifier.weight': [3, 8],
  }
  const at = 'r.encoder.layer.0'
  for (const part of ['query', 'key', 'value']) shapes[`${at}.attention.self.${part}.weight`] = [8, 8]
  Object.assign(shapes, {
    [`${at}.attention.output.dense.weight`]: [8, 8],
    [`${at}.intermediate.dense.weight`]: [12, 8],
  })
  shapes[`${at}.output.dense.weight`] = [8, 12]
  const groups = (more: Record<string, readonly number[]>, config: Record<string, unknown>) =>
    Object.keys(
      inferSpec(sourceOf(model(1, { ...shapes, ...more }), { num_attention_heads: 2, ...config })).spec.groups,
    )
  const [hidden, kv, qk, v, ffn] = ['hidden', ...['kv', 'qk', 'v', 'ffn'].map((unit) => `encoder.layer.0.${unit}`)]
  assert.equal(groups({}, { model_type: 'bert' }).sort(), [ffn, kv, qk, v, hidden].sort())
  assert.equal(groups({}, { model_type: 'roformer' }).sort(), [ffn, kv, v, hidden].sort())
  assert.equal(groups({ 'r.encoder.rel_pos_bias.weight': [2, 32] }, { model_type: 'bert' }), [ffn])
  // Embeddings of another width than the stream.
  assert.equal(
    groups({ 'r.embeddings.position_embeddings.weight': [9, 5] }, { model_type: 'bert' }).includes(hidden!),
    false,
  )
})

test('joint alignment is cycle-consistent, and c2m3 is no worse than merge-many', async () => {
  const shapes = { 'fc1.weight': [12, 5], 'fc1.bias': [12], 'fc2.weight': [12, 12], 'fc3.weight': [4, 12] }
  const base = model(1, shapes)
  const { spec } = inferSpec(sourceOf(base))
  const models = [1, 2, 3].map((seed) => {
    const noise = model(10 + seed, shapes)
    const near: Model = new Map(
      [...base].map(([name, tensor]) => [
        name,
        { ...tensor, values: tensor.values.map((value, i) => value + 0.3 * noise.get(name)!.values[i]!) },
      ]),
    )
    return sourceOf(aligned(spec, near, anyPermutation(spec, seed)))
  })
  const many = await mergeMany(spec, models, pool)
  const joint = await cycleConsistent(spec, models, pool)
  assert.ok(joint.scoreAfter >= many.scoreAfter)
  assert.ok(many.scoreAfter > many.scoreBefore)
  assert.equal(joint.permutations[0], identity(spec))
})

test('permutations compose and invert, inside groups included', () => {
  const one = lm(1)
  const { spec } = inferSpec(sourceOf(one, CONFIG))
  const [p, q] = [anyPermutation(spec, 1), anyPermutation(spec, 2)]
  assert.equal(compose(spec, p, invert(spec, p)), identity(spec))
  const twice = aligned(spec, aligned(spec, one, p), q)
  for (const [name, { values, shape }] of one)
    assert.equal(gather(values, shape, axisMaps(spec, compose(spec, p, q), name, shape)), twice.get(name)!.values)
})

test('errors about a spec that does not fit name the tensor and axis', () => {
  const shapes = new Map([['w', { shape: [6, 4] }]])
  const messages = (text: SpecText) => {
    try {
      readSpec(text, shapes)
    } catch (error) {
      if (error instanceof Fault) return error.message
      throw error
    }
    return ''
  }
  assert.match(
    messages({ groups: { g: 4 }, tensors: { w: ['g'] } }),
    'tensor w, axis 0: g is 4 places, but the axis has 6',
  )
  assert.match(messages({ tensors: { v: ['g'] } }), 'tensor v')
  assert.match(messages({ tensors: { w: [null, null, 'g'] } }), 'tensor w has 2 axes')
  assert.match(messages({ groups: { g: { size: 2, inside: 'h' } }, tensors: { w: [] } }), 'inside h')
  assert.match(messages({ groups: { g: 2, h: 3 }, tensors: { w: ['g*h'] } }), 'cannot share')
  assert.is(messages({ tensors: { w: ['g*2', 'h'] } }), '')
})

test('linear and convolution helpers agree on 1 × 1', () => {
  const net = model(1, { 'a.weight': [2, 3, 1, 1], 'b.weight': [2, 3] })
  net.set('b.weight', { ...net.get('b.weight')!, values: net.get('a.weight')!.values })
  near(
    convolve(net, 'a', { data: Float64Array.from([1, 2, 3]), channels: 3, size: 1 }).data,
    linear(net, 'b', [1, 2, 3]),
    1e-12,
  )
})

test.run()
