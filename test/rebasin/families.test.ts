/** For every kind of network: some permutation of all groups of its inferred spec keeps what it computes. */
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { inferSpec } from '../../src/rebasin/infer/index.js'
import { generator } from '../../src/rebasin/order.js'
import { aligned, batchNorm, convolve, halve, mlp, type Picture, rectify, widen } from './forward.js'
import { type Model, sourceOf } from './load.js'
import { anyPermutation, near, randomModel } from './random.js'
import { bert, gpt2, t5, vit } from './transformers.js'

type ShapeList = Record<string, readonly number[]>
const H = 8

/** A linear layer's weight and bias. */
const layer = (name: string, rows: number, columns: number): ShapeList => ({
  [`${name}.weight`]: [rows, columns],
  [`${name}.bias`]: [rows],
})
const norm = (name: string, size: number): ShapeList => ({ [`${name}.weight`]: [size], [`${name}.bias`]: [size] })

/** Checks the family, that these groups and no fewer are found, and the outputs before and after. */
function keeps(
  net: Model,
  expected: { family: string; groups: number; config?: Record<string, unknown> },
  run: (model: Model) => ArrayLike<number>[],
): void {
  const { family, spec } = inferSpec(sourceOf(net, expected.config))
  assert.is(family, expected.family)
  assert.equal(spec.kept, {})
  assert.is(Object.keys(spec.groups).length, expected.groups, Object.keys(spec.groups).join(' '))
  const before = run(net)
  for (const seed of [1, 2]) {
    const moved = aligned(spec, net, anyPermutation(spec, seed))
    assert.ok([...moved].some(([name, { values }]) => values.some((value, i) => value !== net.get(name)!.values[i])))
    run(moved).forEach((row, i) => {
      near(before[i]!, row, 1e-5)
    })
  }
}

test('gpt2', () => {
  const shapes: ShapeList = { 'wte.weight': [11, H], 'wpe.weight': [8, H], ...norm('ln_f', H) }
  for (const k of [0, 1]) {
    Object.assign(shapes, norm(`h.${k}.ln_1`, H), norm(`h.${k}.ln_2`, H), {
      [`h.${k}.attn.c_attn.weight`]: [H, 3 * H],
      [`h.${k}.attn.c_attn.bias`]: [3 * H],
      [`h.${k}.attn.c_proj.weight`]: [H, H],
      [`h.${k}.attn.c_proj.bias`]: [H],
      [`h.${k}.mlp.c_fc.weight`]: [H, 20],
      [`h.${k}.mlp.c_fc.bias`]: [20],
      [`h.${k}.mlp.c_proj.weight`]: [20, H],
      [`h.${k}.mlp.c_proj.bias`]: [H],
    })
  }
  // The stream; of each layer heads, queries with keys, values, and the feed-forward units.
  keeps(
    randomModel(1, shapes),
    { family: 'gpt2', groups: 9, config: { n_head: 2, architectures: ['GPT2LMHeadModel'] } },
    (model) => gpt2(model, 2, 2, [3, 1, 4, 1, 5]),
  )
})

test('bert with its language head and pooler', () => {
  const shapes: ShapeList = {
    'bert.embeddings.word_embeddings.weight': [11, H],
    'bert.embeddings.position_embeddings.weight': [8, H],
    'bert.embeddings.token_type_embeddings.weight': [2, H],
    ...norm('bert.embeddings.LayerNorm', H),
    ...layer('bert.pooler.dense', H, H),
    ...layer('cls.predictions.transform.dense', H, H),
    ...norm('cls.predictions.transform.LayerNorm', H),
    'cls.predictions.bias': [11],
    ...layer('cls.seq_relationship', 2, H),
  }
  for (const k of [0, 1]) {
    const at = `bert.encoder.layer.${k}`
    for (const part of ['query', 'key', 'value']) Object.assign(shapes, layer(`${at}.attention.self.${part}`, H, H))
    Object.assign(shapes, layer(`${at}.attention.output.dense`, H, H), norm(`${at}.attention.output.LayerNorm`, H))
    Object.assign(shapes, layer(`${at}.intermediate.dense`, 20, H), layer(`${at}.output.dense`, H, 20))
    Object.assign(shapes, norm(`${at}.output.LayerNorm`, H))
  }
  const config = { num_attention_heads: 2 }
  keeps(randomModel(2, shapes), { family: 'bert', groups: 9, config }, (model) => bert(model, 2, 2, [3, 1, 4, 1, 5]))
})

test('vit', () => {
  const shapes: ShapeList = {
    'vit.embeddings.cls_token': [1, 1, H],
    'vit.embeddings.position_embeddings': [1, 5, H],
    'vit.embeddings.patch_embeddings.projection.weight': [H, 3, 2, 2],
    'vit.embeddings.patch_embeddings.projection.bias': [H],
    ...norm('vit.layernorm', H),
    ...layer('classifier', 5, H),
  }
  for (const k of [0, 1]) {
    const at = `vit.encoder.layer.${k}`
    for (const part of ['query', 'key', 'value'])
      Object.assign(shapes, layer(`${at}.attention.attention.${part}`, H, H))
    Object.assign(shapes, layer(`${at}.attention.output.dense`, H, H), layer(`${at}.intermediate.dense`, 20, H))
    Object.assign(shapes, layer(`${at}.output.dense`, H, 20))
    Object.assign(shapes, norm(`${at}.layernorm_before`, H), norm(`${at}.layernorm_after`, H))
  }
  const random = generator(4)
  const patches = Array.from({ length: 4 }, () => Float64Array.from({ length: 12 }, () => random()))
  const config = { num_attention_heads: 2 }
  keeps(randomModel(3, shapes), { family: 'vit', groups: 9, config }, (model) => vit(model, 2, 2, patches))
})

test('t5: shared position biases keep one order of heads in a stack', () => {
  const shapes: ShapeList = { 'shared.weight': [11, H], 'lm_head.weight': [11, H] }
  for (const stack of ['encoder', 'decoder']) {
    shapes[`${stack}.final_layer_norm.weight`] = [H]
    shapes[`${stack}.block.0.layer.0.SelfAttention.relative_attention_bias.weight`] = [4, 2]
    for (const k of [0, 1]) {
      const at = `${stack}.block.${k}.layer`
      const kinds = stack === 'encoder' ? ['SelfAttention'] : ['SelfAttention', 'EncDecAttention']
      kinds.forEach((kind, n) => {
        for (const part of ['q', 'k', 'v']) shapes[`${at}.${n}.${kind}.${part}.weight`] = [12, H]
        shapes[`${at}.${n}.${kind}.o.weight`] = [H, 12]
      })
      const last = `${at}.${kinds.length}`
      for (let n = 0; n <= kinds.length; n++) shapes[`${at}.${n}.layer_norm.weight`] = [H]
      for (const part of ['wi_0', 'wi_1']) shapes[`${last}.DenseReluDense.${part}.weight`] = [20, H]
      shapes[`${last}.DenseReluDense.wo.weight`] = [H, 20]
    }
  }
  // Heads: one group for each stack's own attention and one for each attention to the encoder; two inside of each of six.
  const expected = { family: 't5', groups: 1 + 4 + 12 + 4, config: { num_heads: 2, d_kv: 6 } }
  keeps(randomModel(4, shapes), expected, (model) => t5(model, 2, 2, [3, 1, 4, 1, 5], [2, 7, 1]))
})

const random = generator(5)
const image = (channels: number, size: number): Picture => ({
  data: Float64Array.from({ length: channels * size * size }, () => random() - 0.5),
  channels,
  size,
})
const statistics = (name: string, size: number): ShapeList => ({
  ...norm(name, size),
  [`${name}.running_mean`]: [size],
  [`${name}.running_var`]: [size],
})
test('VGG with BatchNorm: sequences numbered through, pooling, flattening', () => {
  const shapes: ShapeList = {
    'features.0.weight': [6, 3, 3, 3],
    'features.0.bias': [6],
    ...statistics('features.1', 6),
    'features.4.weight': [12, 6, 3, 3],
    'features.4.bias': [12],
    ...statistics('features.5', 12),
    ...layer('classifier.0', 10, 12 * 4),
    ...layer('classifier.3', 7, 10),
    ...layer('classifier.6', 4, 7),
  }
  const net = randomModel(6, shapes)
  for (const name of ['features.1.running_var', 'features.5.running_var'])
    net.set(name, { ...net.get(name)!, values: net.get(name)!.values.map((value) => value + 0.5) })
  const input = image(3, 8)
  keeps(net, { family: 'chain', groups: 4 }, (model) => {
    const step = (x: Picture, k: number) =>
      halve(rectify(batchNorm(model, `features.${k + 1}`, convolve(model, `features.${k}`, x))))
    return [mlp(model, ['classifier.0', 'classifier.3', 'classifier.6'], step(step(input, 0), 4).data)]
  })
})

test('depthwise separable convolutions with BatchNorm', () => {
  const net = randomModel(7, {
    'conv1.weight': [6, 3, 3, 3],
    ...statistics('bn1', 6),
    'conv2.weight': [6, 1, 3, 3],
    ...statistics('bn2', 6),
    'conv3.weight': [9, 6, 1, 1],
    ...statistics('bn3', 9),
    ...layer('fc', 4, 9 * 16),
  })
  const input = image(3, 4)
  keeps(net, { family: 'chain', groups: 2 }, (model) => {
    let x = input
    for (const k of [1, 2, 3])
      x = rectify(batchNorm(model, `bn${k}`, convolve(model, `conv${k}`, x, 1, k === 2 ? 6 : 1)))
    return [mlp(model, ['fc'], x.data)]
  })
})

test('recognizes transposed convolutions by their names and shapes', () => {
  for (const middle of [5, 6]) {
    const net = randomModel(8, {
      'down.weight': [6, 2, 3, 3],
      'down.bias': [6],
      // Six to six is a transposed convolution by its name alone.
      'tconv.weight': [6, middle, 2, 2],
      'tconv.bias': [middle],
      'up.weight': [3, middle, 3, 3],
      'up.bias': [3],
    })
    const input = image(2, 4)
    keeps(net, { family: 'chain', groups: 2 }, (model) => {
      const wide = rectify(widen(model, 'tconv', rectify(convolve(model, 'down', input))))
      return [convolve(model, 'up', wide).data]
    })
  }
})

test('a grouped convolution freezes both sides; later layers move', () => {
  const net = randomModel(9, {
    'features.0.weight': [8, 3, 3, 3],
    'features.2.weight': [12, 4, 3, 3],
    'features.4.weight': [6, 12, 3, 3],
    ...layer('head', 4, 6 * 16),
  })
  const { spec } = inferSpec(sourceOf(net))
  assert.equal(Object.keys(spec.groups), ['features.4'])
  assert.match(spec.kept['features.2']!, 'grouped')
  const input = image(3, 4)
  const run = (model: Model) => {
    const a = rectify(convolve(model, 'features.0', input))
    const b = rectify(convolve(model, 'features.2', a, 1, 2))
    return mlp(model, ['head'], rectify(convolve(model, 'features.4', b)).data)
  }
  near(run(net), run(aligned(spec, net, anyPermutation(spec, 1))), 1e-9)
})

test.run()
