/** Networks that are known by how they compute: any permutation of their groups keeps the function; look-alikes are not known. */
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { inferSpec } from '../../src/rebasin/infer/index.js'
import { aligned, batchNorm, convolve, linear, type Picture, pooled, rectify } from './forward.js'
import { type Model, sourceOf } from './load.js'
import { anyPermutation, near, randomModel } from './random.js'
import { vit } from './transformers.js'

type Shapes = Record<string, readonly number[]>

const layer = (name: string, rows: number, ...columns: number[]): Shapes => ({
  [`${name}.weight`]: [rows, ...columns],
  [`${name}.bias`]: [rows],
})
const batch = (name: string, size: number): Shapes =>
  Object.fromEntries(['weight', 'bias', 'running_mean', 'running_var'].map((part) => [`${name}.${part}`, [size]]))

/** DenseNet with growth 3, two blocks of two layers, and 4 channels in front. */
const GROWTH = 3
function densenetShapes(): Shapes {
  const shapes: Shapes = { 'features.conv0.weight': [4, 1, 3, 3], ...batch('features.norm0', 4) }
  let width = 4
  for (const block of [1, 2]) {
    for (const k of [1, 2]) {
      const at = `features.denseblock${block}.denselayer${k}`
      Object.assign(shapes, batch(`${at}.norm1`, width), { [`${at}.conv1.weight`]: [6, width, 1, 1] })
      Object.assign(shapes, batch(`${at}.norm2`, 6), { [`${at}.conv2.weight`]: [GROWTH, 6, 3, 3] })
      width += GROWTH
    }
    if (block === 2) continue
    Object.assign(shapes, batch('features.transition1.norm', width))
    shapes['features.transition1.conv.weight'] = [5, width, 1, 1]
    width = 5
  }
  return { ...shapes, ...batch('features.norm5', width), ...layer('classifier', 3, width) }
}

const beside = (x: Picture, y: Picture): Picture => ({
  data: Float64Array.from([...x.data, ...y.data]),
  channels: x.channels + y.channels,
  size: x.size,
})

function densenet(model: Model, input: Picture): Float64Array {
  const normed = (name: string, x: Picture) => rectify(batchNorm(model, name, x))
  let x = normed('features.norm0', convolve(model, 'features.conv0', input))
  for (const block of [1, 2]) {
    for (const k of [1, 2]) {
      const at = `features.denseblock${block}.denselayer${k}`
      const inside = convolve(model, `${at}.conv1`, normed(`${at}.norm1`, x))
      x = beside(x, convolve(model, `${at}.conv2`, normed(`${at}.norm2`, inside)))
    }
    if (block === 1) x = convolve(model, 'features.transition1.conv', normed('features.transition1.norm', x))
  }
  return linear(model, 'classifier', pooled(normed('features.norm5', x)))
}

const moves = (before: Model, after: Model): boolean =>
  [...after].every(
    ([name, { values }]) =>
      /classifier.bias|heads.head.bias/.test(name) || values.some((value, i) => value !== before.get(name)!.values[i]),
  )

test('DenseNet: a channel has the same place in all layers that read it', () => {
  const net = randomModel(1, densenetShapes())
  const { family, spec, assumed } = inferSpec(sourceOf(net))
  assert.is(family, 'densenet')
  assert.is(assumed, undefined)
  // First channels, inner channels of 4 layers, growth of 4 layers, and the transition.
  assert.equal(
    Object.values(spec.groups)
      .map(({ size }) => size)
      .sort(),
    [3, 3, 3, 3, 4, 5, 6, 6, 6, 6],
  )
  const input: Picture = { data: Float64Array.from({ length: 25 }, (_, i) => Math.sin(i)), channels: 1, size: 5 }
  const before = densenet(net, input)
  const other = aligned(spec, net, anyPermutation(spec, 1))
  assert.ok(moves(net, other))
  near(before, densenet(other, input), 1e-5)
})

const H = 12
function vitShapes(): Shapes {
  const shapes: Shapes = {
    class_token: [1, 1, H],
    ...layer('conv_proj', H, 2, 1, 1),
    'encoder.pos_embedding': [1, 4, H],
    ...layer('encoder.ln', H),
    ...layer('heads.head', 3, H),
  }
  for (const k of [0, 1]) {
    const at = `encoder.layers.encoder_layer_${k}`
    Object.assign(shapes, layer(`${at}.ln_1`, H), layer(`${at}.ln_2`, H), layer(`${at}.self_attention.out_proj`, H, H))
    Object.assign(shapes, layer(`${at}.mlp.0`, 20, H), layer(`${at}.mlp.3`, H, 20))
    shapes[`${at}.self_attention.in_proj_weight`] = [3 * H, H]
    shapes[`${at}.self_attention.in_proj_bias`] = [3 * H]
  }
  return shapes
}

/** The same weights with the names of transformers. */
function renamed(model: Model): Model {
  const names: [RegExp, string][] = [
    [/^class_token$/, 'vit.embeddings.cls_token'],
    [/^conv_proj/, 'vit.embeddings.patch_embeddings.projection'],
    [/^encoder\.pos_embedding$/, 'vit.embeddings.position_embeddings'],
    [/^encoder\.ln/, 'vit.layernorm'],
    [/^heads\.head/, 'classifier'],
    [/^encoder\.layers\.encoder_layer_/, 'vit.encoder.layer.'],
    [/ln_1/, 'layernorm_before'],
    [/ln_2/, 'layernorm_after'],
    [/self_attention\.out_proj/, 'attention.output.dense'],
    [/mlp\.0/, 'intermediate.dense'],
    [/mlp\.3/, 'output.dense'],
  ]
  const out: Model = new Map()
  for (const [name, tensor] of model) {
    const own = names.reduce((text, [from, to]) => text.replace(from, to), name)
    const part = /^(.*)\.self_attention\.in_proj_(weight|bias)$/.exec(own)
    if (!part) {
      out.set(own, tensor)
      continue
    }
    const size = tensor.values.length / 3
    for (const [k, which] of ['query', 'key', 'value'].entries())
      out.set(`${part[1]}.attention.attention.${which}.${part[2]}`, {
        ...tensor,
        shape: [H, ...tensor.shape.slice(1)],
        values: tensor.values.slice(k * size, (k + 1) * size),
      })
  }
  return out
}

test('ViT of torchvision: heads change places, and places inside of them', () => {
  const net = randomModel(2, vitShapes())
  const { family, spec } = inferSpec(sourceOf(net, { num_heads: 3 }))
  assert.is(family, 'vit-torchvision')
  // The stream; of each layer heads, queries with keys, values, and the feed-forward units.
  const sizes = Object.values(spec.groups).map(({ size, inside }) => (inside === undefined ? size : -size))
  assert.equal(
    sizes.sort((x, y) => x - y),
    [-4, -4, -4, -4, 3, 3, 12, 20, 20],
  )
  const patches = [0, 1, 2].map((k) => Float64Array.from([Math.sin(k), Math.cos(k)]))
  const run = (model: Model) => vit(renamed(model), 2, 3, patches)[0]!
  for (const seed of [1, 2]) {
    const other = aligned(spec, net, anyPermutation(spec, seed))
    assert.ok(moves(net, other))
    near(run(net), run(other), 1e-5)
  }
})

test('without the number of heads, attention keeps the order of its units', () => {
  const { spec } = inferSpec(sourceOf(randomModel(2, vitShapes())))
  assert.equal(
    Object.values(spec.groups)
      .map(({ size }) => size)
      .sort(),
    [12, 20, 20],
  )
  assert.match(Object.values(spec.kept).join(), /number of attention heads is not known/)
})

test('a network with another tensor, or with other sizes, is not a known one', () => {
  const shapes = densenetShapes()
  const families = [
    { ...shapes, 'features.extra.weight': [3, 3] },
    { ...shapes, 'features.denseblock2.denselayer1.conv1.weight': [6, 4, 1, 1] },
    { ...shapes, 'features.norm5.weight': [5] },
  ].map((each) => inferSpec(sourceOf(randomModel(1, each))).family)
  assert.ok(families.every((family) => family !== 'densenet'))
})

/** An encoder layer of torch.nn with width 12 and 20 feed-forward units, and an attention beside it. */
const modules: Shapes = {
  'body.self_attn.in_proj_weight': [36, 12],
  'body.self_attn.in_proj_bias': [36],
  ...layer('body.self_attn.out_proj', 12, 12),
  ...layer('body.linear1', 20, 12),
  ...layer('body.linear2', 12, 20),
  ...layer('body.norm1', 12),
  ...layer('body.norm2', 12),
  'pool.in_proj_weight': [36, 12],
  'pool.in_proj_bias': [36],
  ...layer('pool.out_proj', 12, 12),
  ...layer('head', 3, 12),
}

test('modules of torch.nn move inside, and heads only where no other code can read their weights', () => {
  const { family, spec, assumed } = inferSpec(sourceOf(randomModel(3, modules), { nhead: 3 }))
  assert.is(family, 'torch-modules')
  assert.equal(assumed, { layers: ['head.weight', 'head.bias'] })
  const sizes = Object.values(spec.groups).map(({ size, inside }) => (inside === undefined ? size : -size))
  // Of the layer: heads, places in them, and feed-forward units. Of the attention: places in each of three heads, twice.
  assert.equal(
    sizes.sort((x, y) => x - y),
    [-4, -4, 3, 4, 4, 4, 4, 4, 4, 20],
  )
})

test('an attention or a layer with a tensor of its own is not one of torch.nn', () => {
  const other = { ...modules, 'body.gate.weight': [20, 12], 'pool.scale': [3] }
  const { spec } = inferSpec(sourceOf(randomModel(3, other), { nhead: 3 }))
  assert.equal(
    Object.keys(spec.groups).filter((name) => /linear|pool/.test(name)),
    [],
  )
})

/** One direction of one layer, with gates of 4 units and 2 projected ones. */
const lstm = (end: string, inputs: number): Shapes => ({
  [`rnn.weight_ih_${end}`]: [16, inputs],
  [`rnn.weight_hh_${end}`]: [16, 2],
  [`rnn.bias_ih_${end}`]: [16],
  [`rnn.bias_hh_${end}`]: [16],
  [`rnn.weight_hr_${end}`]: [2, 4],
})

test('in a chain, the gates of a recurrent layer share its units; without that word, nothing moves', () => {
  const shapes: Shapes = {
    'embedding.weight': [9, 5],
    ...lstm('l0', 5),
    ...lstm('l0_reverse', 5),
    ...lstm('l1', 4),
    ...lstm('l1_reverse', 4),
    ...layer('fc', 3, 4),
  }
  const source = sourceOf(randomModel(4, shapes))
  const { spec } = inferSpec(source, 'chain')
  assert.equal(
    Object.values(spec.groups)
      .map(({ size }) => size)
      .sort(),
    [2, 2, 2, 2, 4, 4, 4, 4, 5],
  )
  const rows = spec.parts.filter(({ tensor }) => tensor === 'rnn.weight_ih_l1')
  // Four gates with the same units; then both directions of the layer before.
  assert.equal(
    rows.map(({ axis, offset, units }) => `${axis} ${offset} ${units.length}`),
    ['0 0 2', '1 0 1', '1 2 1'],
  )
  assert.is(inferSpec(source).assumed?.as, 'chain')
})

test('a norm beside recurrent layers has no certain place', () => {
  const shapes = { ...lstm('l0', 5), ...layer('norm', 2), ...layer('fc', 3, 2) }
  assert.throws(
    () => inferSpec(sourceOf(randomModel(4, shapes)), 'chain'),
    ({ message }: Error) => message.includes('norm'),
  )
})

test.run()
