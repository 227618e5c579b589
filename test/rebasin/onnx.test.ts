import { writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { Fault } from '../../src/core/diagnostics.js'
import { inferSpec } from '../../src/rebasin/infer/index.js'
import { onnxSpec, readOnnx } from '../../src/rebasin/onnx/index.js'
import { generator } from '../../src/rebasin/order.js'
import type { Spec } from '../../src/rebasin/spec.js'
import { readOnnxFile } from '../../src/steps/rebasin/spec/onnx.js'
import { inFolder } from '../support/files.js'
import { aligned, convolve, mlp, type Picture, rectify, resnet } from './forward.js'
import { type Model, sourceOf } from './load.js'
import { type NodeText, sourceBytes, type TensorText, writeOnnx } from './onnx-writer.js'
import { anyPermutation, near, randomModel } from './random.js'

type Numbers = Readonly<Record<string, number | readonly number[]>>
const node = (op: string, inputs: string, output: string, attributes: Numbers = {}, name = ''): NodeText => ({
  op,
  inputs: inputs.split(' '),
  output,
  attributes,
  name,
})
const initializersOf = (net: Model): Record<string, TensorText> =>
  Object.fromEntries([...net].map(([name, { shape }]) => [name, { dims: shape }]))
const specOf = (data: Uint8Array, net: Model) => onnxSpec(readOnnx(sourceBytes(data)), net)

/** Which axes go together, without the groups' names. */
const together = ({ parts, groups }: Spec) =>
  parts
    .map(({ tensor, axis, units }) => {
      const group = units.find((unit) => typeof unit === 'string') as string
      const first = parts.find((part) => part.units.includes(group))!
      return `${tensor} ${axis} ${units.map((unit) => (unit === group ? `${first.tensor}:${groups[group]!.size}` : unit)).join('*')}`
    })
    .sort()

const random = generator(77)
const picture = (channels: number, size: number): Picture => ({
  data: Float64Array.from({ length: channels * size * size }, () => random()),
  channels,
  size,
})

const MLP = { 'fc1.weight': [6, 4], 'fc1.bias': [6], 'fc2.weight': [5, 6], 'fc2.bias': [5], 'fc3.weight': [3, 5] }
const mlpNodes = [
  node('Gemm', 'input fc1.weight fc1.bias', 'a', { transB: 1 }, '/fc1/Gemm'),
  node('Relu', 'a', 'b'),
  node('Gemm', 'b fc2.weight fc2.bias', 'c', { transB: 1 }, '/fc2/Gemm'),
  node('Relu', 'c', 'd'),
  node('Gemm', 'd fc3.weight', 'e', { transB: 1 }, '/fc3/Gemm'),
]

test('a multilayer perceptron: the groups that names give, and the function stays', () => {
  const net = randomModel(1, MLP)
  const data = writeOnnx({ nodes: mlpNodes, initializers: initializersOf(net), input: ['batch', 4], output: 'e' })
  const spec = specOf(data, net)
  assert.equal(together(spec), together(inferSpec(sourceOf(net)).spec))
  assert.equal(Object.keys(spec.groups), ['fc1', 'fc2'])
  const x = [1, -2, 3, 0.5]
  const layers = ['fc1', 'fc2', 'fc3']
  near(mlp(net, layers, x), mlp(aligned(spec, net, anyPermutation(spec, 2)), layers, x), 1e-9)
})

test('finds weights that an export transposed and renamed by their module, also square ones', () => {
  const net = randomModel(2, {
    'net.fc1.weight': [4, 4],
    'net.fc1.bias': [4],
    'net.fc2.weight': [4, 4],
    'net.fc3.weight': [3, 4],
  })
  const nodes = [
    node('MatMul', 'input onnx::MatMul_7', 'a', {}, '/fc1/MatMul'),
    node('Add', 'fc1.bias a', 'b', {}, '/fc1/Add'),
    node('Relu', 'b', 'c'),
    node('MatMul', 'c onnx::MatMul_8', 'd', {}, '/fc2/MatMul'),
    node('Relu', 'd', 'e'),
    node('MatMul', 'e onnx::MatMul_9', 'f', {}, 'nameless'),
  ]
  const initializers = {
    'fc1.bias': { dims: [4] },
    'onnx::MatMul_7': { dims: [4, 4] },
    'onnx::MatMul_8': { dims: [4, 4] },
    'onnx::MatMul_9': { dims: [4, 3] },
  }
  const spec = specOf(writeOnnx({ nodes, initializers, input: [1, 'tokens', 4], output: 'f' }), net)
  assert.equal(Object.values(spec.groups), [{ size: 4 }, { size: 4 }])
  const layers = ['net.fc1', 'net.fc2', 'net.fc3']
  const x = [1, -2, 3, 0.5]
  near(mlp(net, layers, x), mlp(aligned(spec, net, anyPermutation(spec, 3)), layers, x), 1e-9)
  // Without module names two weights of one shape are not told apart: nothing that they touch moves.
  const bare = nodes.map((each) => ({ ...each, name: '' }))
  const none = specOf(writeOnnx({ nodes: bare, initializers, input: [1, 'tokens', 4], output: 'f' }), net)
  assert.equal(none.parts, [])
  assert.match(none.kept['onnx::MatMul_7']!, 'not clearly one tensor')
})

const CONV = {
  'features.0.weight': [6, 2, 3, 3],
  'features.0.bias': [6],
  'features.2.weight': [6, 1, 3, 3],
  'features.2.bias': [6],
  'features.4.weight': [8, 6, 3, 3],
  'classifier.0.weight': [10, 8 * 16],
  'classifier.0.bias': [10],
  'classifier.2.weight': [3, 10],
}
const pads = { pads: [1, 1, 1, 1], kernel_shape: [3, 3], strides: [1, 1] }
const convNodes = (flat: readonly NodeText[]) => [
  node('Conv', 'input features.0.weight features.0.bias', 'a', { ...pads, group: 1 }),
  node('Relu', 'a', 'b'),
  node('Conv', 'b features.2.weight features.2.bias', 'c', { ...pads, group: 6 }),
  node('Relu', 'c', 'd'),
  node('Conv', 'd features.4.weight', 'e', { ...pads, group: 1 }),
  node('Relu', 'e', 'f'),
  ...flat,
  node('Gemm', 'g classifier.0.weight classifier.0.bias', 'h', { transB: 1 }),
  node('Relu', 'h', 'i'),
  node('Gemm', 'i classifier.2.weight', 'j', { transB: 1 }),
]
const FLATTENED: readonly (readonly [string, readonly NodeText[]])[] = [
  ['Flatten', [node('Flatten', 'f', 'g', { axis: 1 })]],
  ['Reshape to -1 × 128', [node('Reshape', 'f shape', 'g')]],
  [
    'Reshape to the batch that Shape tells × -1',
    [
      node('Shape', 'f', 's'),
      node('Gather', 's zero', 't', { axis: 0 }),
      node('Unsqueeze', 't axes', 'u'),
      node('Concat', 'u minus', 'v', { axis: 0 }),
      node('Reshape', 'f v', 'g'),
    ],
  ],
]

for (const [what, flat] of FLATTENED)
  test(`convolutions, depthwise among them, flattened by ${what}`, () => {
    const net = randomModel(3, CONV)
    const initializers = {
      ...initializersOf(net),
      shape: { dims: [2], integers: [-1, 128] },
      zero: { dims: [], integers: [0] },
      axes: { dims: [1], integers: [0] },
      minus: { dims: [1], integers: [-1] },
    }
    const data = writeOnnx({ nodes: convNodes(flat), initializers, input: ['batch', 2, 4, 4], output: 'j' })
    const spec = specOf(data, net)
    assert.equal(together(spec), together(inferSpec(sourceOf(net)).spec))
    const x = picture(2, 4)
    const run = (weights: Model) => {
      const a = rectify(convolve(weights, 'features.0', x))
      const b = rectify(convolve(weights, 'features.2', a, 1, 6))
      return mlp(weights, ['classifier.0', 'classifier.2'], rectify(convolve(weights, 'features.4', b)).data)
    }
    near(run(net), run(aligned(spec, net, anyPermutation(spec, 4))), 1e-9)
  })

/** A residual network as `resnet` of forward.ts runs it. */
function residual() {
  const shapes: Record<string, readonly number[]> = {}
  const nodes: NodeText[] = []
  const norm = (name: string, channels: number, from: string) => {
    const parts = ['weight', 'bias', 'running_mean', 'running_var'].map((part) => `${name}.${part}`)
    for (const part of parts) shapes[part] = [channels]
    nodes.push(node('BatchNormalization', [from, ...parts].join(' '), name))
    return name
  }
  const conv = (name: string, rows: number, columns: number, from: string, kernel = 3) => {
    shapes[`${name}.weight`] = [rows, columns, kernel, kernel]
    nodes.push(node('Conv', `${from} ${name}.weight`, name))
    return name
  }
  const relu = (from: string, to: string) => {
    nodes.push(node('Relu', from, to))
    return to
  }
  let x = relu(norm('bn1', 4, conv('conv1', 4, 1, 'input')), 'stem')
  for (const [k, [from, to]] of [
    [4, 4],
    [4, 6],
    [6, 8],
  ].entries() as Iterable<[number, [number, number]]>) {
    const block = `layer${k + 1}.0`
    const inside = relu(norm(`${block}.bn1`, to, conv(`${block}.conv1`, to, from, x)), `${block}.relu`)
    const out = norm(`${block}.bn2`, to, conv(`${block}.conv2`, to, to, inside))
    const short = from === to ? x : norm(`${block}.downsample.1`, to, conv(`${block}.downsample.0`, to, from, x, 1))
    nodes.push(node('Add', `${out} ${short}`, `${block}.sum`))
    x = relu(`${block}.sum`, `${block}.out`)
  }
  Object.assign(shapes, { 'fc.weight': [3, 8], 'fc.bias': [3] })
  nodes.push(node('GlobalAveragePool', x, 'pooled'), node('Flatten', 'pooled', 'flat'))
  nodes.push(node('Gemm', 'flat fc.weight fc.bias', 'logits', { transB: 1 }))
  const net = randomModel(5, shapes)
  return { net, data: writeOnnx({ nodes, initializers: initializersOf(net), input: ['n', 1, 8, 8], output: 'logits' }) }
}

test('a residual network with BatchNorm', () => {
  const { net, data } = residual()
  const spec = specOf(data, net)
  assert.equal(together(spec), together(inferSpec(sourceOf(net)).spec))
  assert.equal(spec.kept['layer1.0.conv2.weight'], undefined)
  const x = picture(1, 8)
  near(resnet(net, x), resnet(aligned(spec, net, anyPermutation(spec, 6)), x), 1e-9)
})

test('axes that an unknown operator uses keep their order, with the reason; the rest moves', () => {
  const net = randomModel(1, MLP)
  const nodes = mlpNodes.map((each) => (each.op === 'Relu' && each.output === 'b' ? { ...each, op: 'Shuffle' } : each))
  const spec = specOf(writeOnnx({ nodes, initializers: initializersOf(net), input: [1, 4], output: 'e' }), net)
  assert.equal(Object.keys(spec.groups), ['fc2'])
  assert.match(spec.kept['fc1.weight']!, 'Shuffle is not supported')
})

test('a tensor that the graph does not read freezes the groups that it may use', () => {
  const net = randomModel(1, { ...MLP, 'bn.weight': [6] })
  const { 'bn.weight': _, ...initializers } = initializersOf(net)
  const spec = specOf(writeOnnx({ nodes: mlpNodes, initializers, input: [1, 4], output: 'e' }), net)
  assert.equal(Object.keys(spec.groups), ['fc2'])
  assert.match(spec.kept['fc1.bias']!, 'bn.weight')
})

test('the error about an export of another shape names tensor and axis', () => {
  const net = randomModel(1, MLP)
  const initializers = { ...initializersOf(net), 'fc2.weight': { dims: [7, 6] } }
  const data = writeOnnx({ nodes: mlpNodes, initializers, input: [1, 4], output: 'e' })
  assert.throws(() => specOf(data, net), /fc2\.weight is \[5, 6\], but \[7, 6\] in the ONNX export: axis 0/)
})

test('reads the structure of a file, and refuses files that are not ONNX', () =>
  inFolder((folder) => {
    const file = path.join(folder, 'model.onnx')
    const { data, net } = residual()
    writeFileSync(file, data)
    const found = readOnnxFile(file, 'model.onnx')
    assert.ok('onnx' in found)
    assert.equal(onnxSpec(found.onnx, net), specOf(data, net))
    writeFileSync(file, 'terge: 1')
    for (const name of [file, path.join(folder, 'none.onnx'), folder]) {
      const other = readOnnxFile(name, 'model.onnx')
      assert.is('fault' in other && other.fault.code, 'bad-onnx')
    }
  }))

test('mutated files give a spec or an error, never anything else', () => {
  const small = randomModel(1, MLP)
  const initializers = { ...initializersOf(small), shape: { dims: [2], integers: [-1, 4] } }
  const nodes = [
    node('Reshape', 'input shape', 'r'),
    ...mlpNodes.map((each, k) => (k === 0 ? { ...each, inputs: ['r', ...each.inputs.slice(1)] } : each)),
  ]
  const plain = { net: small, data: writeOnnx({ nodes, initializers, input: ['n', 2, 2], output: 'e' }) }
  const large = residual()
  const next = generator(99)
  const whole = (below: number) => Math.floor(next() * below)
  let specs = 0
  for (let n = 0; n < 20000; n++) {
    const { net, data } = n % 20 === 0 ? large : plain
    const bytes = Uint8Array.from(data)
    for (let k = whole(4); k >= 0; k--) bytes[whole(bytes.length)] = whole(256)
    const cut = whole(8) === 0 ? bytes.subarray(0, whole(bytes.length)) : bytes
    try {
      specOf(cut, net)
      specs++
    } catch (error) {
      if (!(error instanceof Fault)) throw error
    }
  }
  assert.ok(specs > 100)
})

test.run()
