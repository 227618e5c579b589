/** Networks with blocks, and names of many hands: any permutation of the spec keeps the function, or nothing of it moves. */
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { inferSpec } from '../../src/rebasin/infer/index.js'
import { generator } from '../../src/rebasin/order.js'
import { aligned, batchNorm, convolve, linear, type Picture, pooled, rectify, relu, widen } from './forward.js'
import { type Model, sourceOf } from './load.js'
import { anyPermutation, near, randomModel } from './random.js'
import { add, layerNorm } from './transformers.js'

type ShapeList = Record<string, readonly number[]>
const conv = (name: string, rows: number, columns: number, kernel = 3): ShapeList => ({
  [`${name}.weight`]: [rows, columns, kernel, kernel],
})
const dense = (name: string, rows: number, columns: number): ShapeList => ({
  [`${name}.weight`]: [rows, columns],
  [`${name}.bias`]: [rows],
})
const norm = (name: string, size: number): ShapeList => ({ [`${name}.weight`]: [size], [`${name}.bias`]: [size] })
const bn = (name: string, size: number): ShapeList => ({
  ...norm(name, size),
  [`${name}.running_mean`]: [size],
  [`${name}.running_var`]: [size],
})

const random = generator(3)
const image: Picture = { data: Float64Array.from({ length: 3 * 16 }, () => random() - 0.5), channels: 3, size: 4 }
const vector = Float64Array.from({ length: 6 }, () => random() - 0.5)

/** The groups that are found, none fewer, and the function before and after. */
function keeps(
  shapes: ShapeList,
  groups: readonly string[],
  run: (model: Model) => Float64Array,
  family = 'auto',
): void {
  // A spec must not rest on the order in which a file lists its tensors.
  const net = randomModel(1, Object.fromEntries(Object.entries(shapes).reverse()))
  const { spec } = inferSpec(sourceOf(net), family)
  assert.equal(Object.keys(spec.groups).sort(), [...groups].sort())
  const before = run(net)
  for (const seed of [1, 2]) near(before, run(aligned(spec, net, anyPermutation(spec, seed))), 1e-6)
}
const sum = (x: Picture, y: Picture): Picture => ({ ...x, data: add(x.data, y.data) })

test('a sequence without a name, norms in it', () => {
  const shapes = { ...dense('0', 8, 6), ...bn('1', 8), ...dense('3', 8, 8), ...norm('4', 8), ...dense('6', 6, 8) }
  keeps(shapes, ['_0', '_3'], (model) => {
    const flat = (name: string, x: Float64Array) =>
      batchNorm(model, name, { data: x, channels: x.length, size: 1 }).data
    const x = relu(flat('1', linear(model, '0', vector)))
    return linear(model, '6', relu(layerNorm(model, '4', linear(model, '3', x))))
  })
})

test('norms named after their layers, and norms numbered on after the convolutions', () => {
  const named = {
    ...{ ...dense('input_layer', 8, 6), ...norm('input_norm', 8), ...dense('hidden', 8, 8) },
    ...{ ...norm('hidden_norm', 8), ...dense('output_layer', 6, 8) },
  }
  keeps(named, ['input_layer', 'hidden'], (model) => {
    const x = relu(layerNorm(model, 'input_norm', linear(model, 'input_layer', vector)))
    return linear(model, 'output_layer', relu(layerNorm(model, 'hidden_norm', linear(model, 'hidden', x))))
  })
  const counting = {
    ...{ ...conv('conv1', 5, 3), ...bn('bn1', 5), ...conv('conv2', 7, 5), ...bn('bn2', 7) },
    ...{ ...dense('fc1', 9, 7 * 16), ...bn('bn3', 9), ...dense('fc2', 4, 9) },
  }
  keeps(counting, ['conv1', 'conv2', 'fc1'], (model) => {
    let x = image
    for (const k of [1, 2]) x = rectify(batchNorm(model, `bn${k}`, convolve(model, `conv${k}`, x)))
    const y = batchNorm(model, 'bn3', { data: linear(model, 'fc1', x.data), channels: 9, size: 1 }).data
    return linear(model, 'fc2', relu(y))
  })
})

test('norms before the layers that share their number', () => {
  const shapes = {
    ...{ ...norm('ln1', 6), ...dense('fc1', 8, 6), ...norm('ln2', 8), ...dense('fc2', 8, 8) },
    ...{ ...norm('ln3', 8), ...dense('fc3', 5, 8) },
  }
  keeps(shapes, ['fc1', 'fc2'], (model) =>
    [1, 2, 3].reduce<Float64Array>(
      (x, k) => linear(model, `fc${k}`, layerNorm(model, `ln${k}`, k > 1 ? relu(x) : x)),
      vector,
    ),
  )
})

/** As torchvision names MobileNetV2: an expansion, a depthwise convolution, a projection; shortcuts between equal sizes. */
test('inverted residuals', () => {
  const shapes: ShapeList = {
    ...{ ...conv('features.0.0', 4, 3), ...bn('features.0.1', 4) },
    ...{ ...conv('features.1.conv.0.0', 4, 1), ...bn('features.1.conv.0.1', 4) },
    ...{ ...conv('features.1.conv.1', 6, 4, 1), ...bn('features.1.conv.2', 6) },
    ...{ ...conv('features.4.0', 10, 6, 1), ...bn('features.4.1', 10), ...dense('classifier.1', 5, 10) },
  }
  for (const k of [2, 3])
    Object.assign(shapes, conv(`features.${k}.conv.0.0`, 12, 6, 1), bn(`features.${k}.conv.0.1`, 12), {
      ...{ ...conv(`features.${k}.conv.1.0`, 12, 1), ...bn(`features.${k}.conv.1.1`, 12) },
      ...{ ...conv(`features.${k}.conv.2`, 6, 12, 1), ...bn(`features.${k}.conv.3`, 6) },
    })
  const groups = ['features.0.0', 'features.1.out', 'features.2.conv.0.0', 'features.3.conv.0.0', 'features.4.0']
  keeps(shapes, groups, (model) => {
    const step = (x: Picture, name: string, after: string, groups = 1) =>
      batchNorm(model, after, convolve(model, name, x, 1, groups))
    let x = rectify(step(image, 'features.0.0', 'features.0.1'))
    x = rectify(step(x, 'features.1.conv.0.0', 'features.1.conv.0.1', 4))
    x = step(x, 'features.1.conv.1', 'features.1.conv.2')
    for (const k of [2, 3]) {
      const at = `features.${k}.conv`
      const wide = rectify(step(x, `${at}.0.0`, `${at}.0.1`))
      x = sum(x, step(rectify(step(wide, `${at}.1.0`, `${at}.1.1`, 12)), `${at}.2`, `${at}.3`))
    }
    return linear(model, 'classifier.1', pooled(rectify(step(x, 'features.4.0', 'features.4.1'))))
  })
})

/** As torchvision names EfficientNet: the gate's two layers would fit as a chain through the block. */
test('squeeze and excitation', () => {
  const shapes: ShapeList = {
    ...{ ...conv('features.0.0', 4, 3), ...bn('features.0.1', 4), ...dense('classifier.1', 5, 4) },
    ...{ ...conv('features.1.0.block.0.0', 8, 4, 1), ...bn('features.1.0.block.0.1', 8) },
    ...{ ...conv('features.1.0.block.1.0', 8, 1), ...bn('features.1.0.block.1.1', 8) },
    ...{ ...conv('features.1.0.block.2.fc1', 2, 8, 1), ...conv('features.1.0.block.2.fc2', 8, 2, 1) },
    ...{ ...conv('features.1.0.block.3.0', 4, 8, 1), ...bn('features.1.0.block.3.1', 4) },
  }
  const at = 'features.1.0.block'
  const groups = ['features.0.0', `${at}.0.0`, `${at}.2.fc1`]
  keeps(shapes, groups, (model) => {
    const step = (x: Picture, name: string, groups = 1) =>
      batchNorm(model, `${name}.1`, convolve(model, `${name}.0`, x, 1, groups))
    const x = rectify(step(image, 'features.0'))
    const y = rectify(step(rectify(step(x, `${at}.0`)), `${at}.1`, 8))
    const one: Picture = { data: pooled(y), channels: 8, size: 1 }
    const gate = convolve(model, `${at}.2.fc2`, rectify(convolve(model, `${at}.2.fc1`, one))).data
    const scaled = { ...y, data: y.data.map((value, i) => value / (1 + Math.exp(-gate[Math.floor(i / 16)]!))) }
    return linear(model, 'classifier.1', pooled(sum(x, step(scaled, `${at}.3`))))
  })
})

/** Sequences as blocks: nothing but the shortcut, which is not in the file, tells them from a chain. */
test('blocks with any names keep the same order for output and input', () => {
  const shapes: ShapeList = {
    ...{ ...conv('conv1.0', 5, 3), ...bn('conv1.1', 5), ...conv('res1.0.0', 5, 5), ...bn('res1.0.1', 5) },
    ...{ ...conv('res1.1.0', 5, 5), ...bn('res1.1.1', 5), ...dense('classifier.3', 4, 5) },
  }
  keeps(shapes, ['conv1.0', 'res1.0.0'], (model) => {
    const step = (x: Picture, at: string) => rectify(batchNorm(model, `${at}.1`, convolve(model, `${at}.0`, x)))
    const x = step(image, 'conv1')
    return linear(model, 'classifier.3', pooled(sum(x, step(step(x, 'res1.0'), 'res1.1'))))
  })
  const mlp: ShapeList = { ...dense('input_proj', 8, 6), ...dense('output', 3, 8) }
  for (const k of [0, 1])
    Object.assign(mlp, norm(`blocks.${k}.norm`, 8), dense(`blocks.${k}.fc1`, 11, 8), dense(`blocks.${k}.fc2`, 8, 11))
  keeps(mlp, ['input_proj', 'blocks.0.fc1', 'blocks.1.fc1'], (model) => {
    const block = (x: Float64Array, at: string) =>
      add(x, linear(model, `${at}.fc2`, relu(linear(model, `${at}.fc1`, layerNorm(model, `${at}.norm`, x)))))
    return linear(
      model,
      'output',
      [0, 1].reduce((x, k) => block(x, `blocks.${k}`), linear(model, 'input_proj', vector)),
    )
  })
})

test('a gate inside of a numbered block makes no stage of it; lists of layers and norms beside each other', () => {
  const shapes: ShapeList = { ...conv('stem', 6, 3), ...dense('head', 5, 6) }
  const at = 'layer1.0'
  Object.assign(shapes, conv(`${at}.0.0`, 8, 6, 1), conv(`${at}.1.0`, 8, 1), conv(`${at}.3.0`, 6, 8, 1))
  Object.assign(shapes, conv(`${at}.2.fc1`, 2, 8, 1), conv(`${at}.2.fc2`, 8, 2, 1))
  const { spec } = inferSpec(sourceOf(randomModel(1, shapes)))
  assert.equal(
    spec.parts.filter(({ tensor }) => tensor === `${at}.3.0.weight`).map(({ units }) => units),
    [['stem'], [`${at}.0.0`]],
  )
  const lists: ShapeList = { ...dense('out', 5, 7) }
  for (const [k, from, to] of [
    [0, 6, 7],
    [1, 7, 7],
  ] as const)
    Object.assign(lists, dense(`linears.${k}`, to, from), norm(`norms.${k}`, to))
  keeps(lists, ['linears.0', 'linears.1'], (model) =>
    linear(
      model,
      'out',
      [0, 1].reduce<Float64Array>(
        (x, k) => relu(layerNorm(model, `norms.${k}`, linear(model, `linears.${k}`, x))),
        vector,
      ),
    ),
  )
})

test('norms before the convolutions, projections without norms', () => {
  const shapes: ShapeList = { ...conv('conv1', 4, 3), ...bn('bn', 7), ...dense('linear', 5, 7) }
  for (const [k, from, to] of [
    [1, 4, 4],
    [2, 4, 7],
  ] as const)
    Object.assign(shapes, bn(`layer${k}.0.bn1`, from), conv(`layer${k}.0.conv1`, to, from), {
      ...{ ...bn(`layer${k}.0.bn2`, to), ...conv(`layer${k}.0.conv2`, to, to) },
      ...(from === to ? {} : conv(`layer${k}.0.shortcut`, to, from, 1)),
    })
  const groups = ['conv1', 'layer1.0.conv1', 'layer2.0.conv1', 'layer2.0.out']
  keeps(shapes, groups, (model) => {
    let x = convolve(model, 'conv1', image)
    for (const at of ['layer1.0', 'layer2.0']) {
      const inner = convolve(model, `${at}.conv1`, rectify(batchNorm(model, `${at}.bn1`, x)))
      const out = convolve(model, `${at}.conv2`, rectify(batchNorm(model, `${at}.bn2`, inner)))
      x = sum(out, model.has(`${at}.shortcut.weight`) ? convolve(model, `${at}.shortcut`, x) : x)
    }
    return linear(model, 'linear', pooled(rectify(batchNorm(model, 'bn', x))))
  })
})

/** As DCGAN's generator is most often written: nothing but the sizes says that its convolutions are transposed. */
test('transposed convolutions from the first layer on', () => {
  const shapes = {
    ...{ 'main.0.weight': [3, 7, 2, 2], ...bn('main.1', 7), 'main.3.weight': [7, 5, 2, 2], ...bn('main.4', 5) },
    'main.6.weight': [5, 2, 2, 2],
  }
  keeps(shapes, ['main.0', 'main.3'], (model) => {
    const step = (x: Picture, k: number) => rectify(batchNorm(model, `main.${k + 1}`, widen(model, `main.${k}`, x)))
    return widen(model, 'main.6', step(step(image, 0), 3)).data
  })
})

test('blocks between single layers: only the numbers of each kind, and the sizes, give the order', () => {
  const shapes: ShapeList = { ...dense('classifier.1', 5, 9) }
  for (const [at, rows, columns] of [
    ['conv1', 4, 3],
    ['conv2', 6, 4],
    ['conv3', 9, 6],
    ['res1.0', 6, 6],
    ['res1.1', 6, 6],
    ['res2.0', 9, 9],
    ['res2.1', 9, 9],
  ] as const)
    Object.assign(shapes, conv(`${at}.0`, rows, columns), bn(`${at}.1`, rows))
  keeps(shapes, ['conv1.0', 'conv2.0', 'conv3.0', 'res1.0.0', 'res2.0.0'], (model) => {
    const step = (x: Picture, at: string) => rectify(batchNorm(model, `${at}.1`, convolve(model, `${at}.0`, x)))
    const block = (x: Picture, at: string) => sum(x, step(step(x, `${at}.0`), `${at}.1`))
    const x = block(step(step(image, 'conv1'), 'conv2'), 'res1')
    return linear(model, 'classifier.1', pooled(block(step(x, 'conv3'), 'res2')))
  })
})

test('branches beside a known path keep their order, and so do their neighbours', () => {
  // Channels that are joined: no layer takes what the one before gives.
  const joined = { ...conv('stem', 4, 3), ...conv('grow1.conv1', 6, 4, 1), ...conv('grow1.conv2', 4, 6) }
  const dense2 = { ...conv('grow2.conv1', 9, 8, 1), ...conv('grow2.conv2', 4, 9), ...dense('head', 5, 12) }
  const net = randomModel(1, { ...joined, ...dense2 })
  const { spec } = inferSpec(sourceOf(net))
  assert.equal(Object.keys(spec.groups), ['grow1.conv1', 'grow2.conv1'])
  // An attention of two layers after the first convolution would do as a stem.
  const attended: ShapeList = {
    ...{ ...conv('conv1', 8, 3), ...conv('layer1.0.conv1', 8, 8), ...conv('layer1.0.conv2', 8, 8) },
    ...{ ...conv('layer1.0.ca.fc1', 2, 8, 1), ...conv('layer1.0.ca.fc2', 8, 2, 1), ...dense('fc', 32, 8) },
  }
  const other = inferSpec(sourceOf(randomModel(1, attended))).spec
  assert.equal(Object.keys(other.groups), ['layer1.0.ca.fc1'])
  assert.match(other.kept.conv1!, 'not clear')
  // Only the alphabet says that a decoder comes first, and the shapes allow either.
  const either = {
    ...dense('right1', 9, 6),
    ...dense('right2', 4, 9),
    ...dense('left1', 9, 4),
    ...dense('left2', 6, 9),
  }
  assert.throws(() => inferSpec(sourceOf(randomModel(1, either))), /order of the layers is not clear/)
})

test('a block that widens without a projection: spec: chain says that it has no shortcut', () => {
  const shapes: ShapeList = { ...dense('fc', 5, 6) }
  for (const [block, from, to] of [
    ['block1', 3, 4],
    ['block2', 4, 6],
  ] as const)
    Object.assign(shapes, conv(`${block}.conv1`, to, from), conv(`${block}.conv2`, to, to))
  const { spec } = inferSpec(sourceOf(randomModel(1, shapes)))
  assert.equal(Object.keys(spec.groups), ['block1.conv1', 'block2.conv1'])
  assert.match(spec.kept['block1.out']!, 'spec: chain')
  const run = (model: Model) =>
    linear(
      model,
      'fc',
      pooled(
        ['block1.conv1', 'block1.conv2', 'block2.conv1', 'block2.conv2'].reduce(
          (x, at) => rectify(convolve(model, at, x)),
          image,
        ),
      ),
    )
  keeps(shapes, ['block1.conv1', 'block1.conv2', 'block2.conv1', 'block2.conv2'], run, 'chain')
})

test.run()
