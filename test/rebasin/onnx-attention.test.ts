import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { onnxSpec, readOnnx } from '../../src/rebasin/onnx/index.js'
import { aligned, linear, relu } from './forward.js'
import type { Model } from './load.js'
import { type NodeText, sourceBytes, type TensorText, writeOnnx } from './onnx-writer.js'
import { anyPermutation, near, randomModel } from './random.js'
import { add, attend, layerNorm } from './transformers.js'

const H = 8
const LINEAR = { q: [H, H], k: [H, H], v: [H, H], out: [H, H], up: [12, H], down: [H, 12], head: [5, H] } as const
const net = randomModel(1, {
  'embed.weight': [11, H],
  'position.weight': [6, H],
  'norm.weight': [H],
  'norm.bias': [H],
  ...Object.fromEntries(
    Object.entries(LINEAR).flatMap(([name, shape]) => [
      [`${name}.weight`, shape],
      [`${name}.bias`, [shape[0]]],
    ]),
  ),
})

/** One encoder block as exporters write it: weights of linear layers transposed and renamed, LayerNorm in its parts. */
function exported(masked = false): Uint8Array {
  const nodes: NodeText[] = []
  const initializers: Record<string, TensorText> = {
    'embed.weight': { dims: [11, H] },
    'position.weight': { dims: [6, H] },
    'norm.weight': { dims: [H] },
    'norm.bias': { dims: [H] },
    one: { dims: [1], integers: [1] },
    minus: { dims: [1], integers: [-1] },
    width: { dims: [1], integers: [H] },
    square: { dims: [2], integers: [6, 6] },
    zero: { dims: [], integers: [0] },
    first: { dims: [1], integers: [0] },
    two: { dims: [], integers: [2] },
    split: { dims: [4], integers: [0, 0, 2, 4] },
    whole: { dims: [3], integers: [0, 0, H] },
    places: { dims: [6], integers: [0, 1, 2, 3, 4, 5] },
  }
  const node = (op: string, inputs: string[], output: string, attributes = {}, name = '') => {
    nodes.push({ op, inputs, output, attributes, name })
    return output
  }
  const layer = (name: string, x: string) => {
    const [rows, columns] = LINEAR[name as keyof typeof LINEAR]
    const weight = `onnx::MatMul_${nodes.length}`
    initializers[weight] = { dims: [columns, rows] }
    initializers[`${name}.bias`] = { dims: [rows] }
    const product = node('MatMul', [x, weight], `${name}.product`, {}, `/${name}/MatMul`)
    return node('Add', [`${name}.bias`, product], `${name}.sum`)
  }
  const heads = (x: string, perm: number[]) =>
    node('Transpose', [node('Reshape', [x, 'split'], `${x}.cut`)], `${x}.heads`, { perm })
  const mask = (scores: string) => {
    const full = node('Trilu', [node('ConstantOfShape', ['square'], 'filled')], 'triangle')
    return node('Where', [node('ScatterND', [full, 'places', 'two'], 'mask'), scores, 'two'], 'masked')
  }
  const shape = () => {
    const all = node('Shape', ['input'], 'all')
    const batch = node('Unsqueeze', [node('Gather', [all, 'zero'], 'n'), 'first'], 'batch')
    return node('Concat', [batch, 'minus', node('Mul', ['width', 'one'], 'product')], 'joined', { axis: 0 })
  }
  const position = node('Gather', ['position.weight', 'places'], 'position')
  const x = node('Add', [node('Gather', ['embed.weight', 'input'], 'embedded'), position], 'x')
  const centred = node('Sub', [x, node('ReduceMean', [x], 'mean', { axes: [-1] })], 'centred')
  const square = node('ReduceMean', [node('Pow', [centred, 'two'], 'squares')], 'variance', { axes: [-1] })
  const scaled = node('Div', [centred, node('Sqrt', [square], 'deviation')], 'scaled')
  const y = node('Add', [node('Mul', [scaled, 'norm.weight'], 'weighted'), 'norm.bias'], 'normed')
  const scores = node('MatMul', [heads(layer('q', y), [0, 2, 1, 3]), heads(layer('k', y), [0, 2, 3, 1])], 'scores')
  const mixed = node(
    'MatMul',
    [node('Softmax', [masked ? mask(scores) : scores], 'soft'), heads(layer('v', y), [0, 2, 1, 3])],
    'mixed',
  )
  const back = node(
    'Reshape',
    [node('Transpose', [mixed], 'turned', { perm: [0, 2, 1, 3] }), masked ? shape() : 'whole'],
    'back',
  )
  const z = node('Add', [x, layer('out', back)], 'z')
  const inner = node('Relu', [layer('up', z)], 'inner')
  const output = layer('head', node('Add', [z, layer('down', inner)], 'last'))
  return writeOnnx({ nodes, initializers, input: ['batch', 6], output })
}

const rows = (model: Model, name: string, k: number) =>
  Float64Array.from(model.get(name)!.values.subarray(k * H, (k + 1) * H))

function run(model: Model): Float64Array[] {
  const x = [3, 1, 4, 1, 5, 9].map((token, i) =>
    add(rows(model, 'embed.weight', token), rows(model, 'position.weight', i)),
  )
  const y = x.map((each) => layerNorm(model, 'norm', each))
  const map = (name: string) => y.map((each) => linear(model, name, each))
  const mixed = attend([map('q'), map('k'), map('v')], 2)
  return x.map((each, i) => {
    const z = add(each, linear(model, 'out', mixed[i]!))
    return linear(model, 'head', add(z, linear(model, 'down', relu(linear(model, 'up', z)))))
  })
}

test('a mask and shapes that the graph computes by operators that are not known', () => {
  const spec = onnxSpec(readOnnx(sourceBytes(exported(true))), net)
  // The stream, the insides of the two value heads, and the feed-forward layer. Queries and keys meet the mask.
  assert.equal(
    Object.values(spec.groups).map(({ size }) => size),
    [H, 4, 4, 12],
  )
})

test('a transformer: the stream, the feed-forward layer and the insides of heads move', () => {
  const spec = onnxSpec(readOnnx(sourceBytes(exported())), net)
  assert.equal(
    Object.values(spec.groups).map(({ size }) => size),
    [H, 4, 4, 4, 4, 12],
  )
  const axes = (tensor: string) =>
    spec.parts.filter((part) => part.tensor === tensor).map(({ axis, units }) => [axis, ...units])
  // Queries and keys share the order inside each head, and so do values and the output.
  assert.equal(axes('q.weight'), [
    [0, 'q'],
    [0, 'q#2'],
    [1, 'position'],
  ])
  assert.equal(axes('k.bias'), [
    [0, 'q'],
    [0, 'q#2'],
  ])
  assert.equal(axes('out.weight'), [
    [0, 'position'],
    [1, 'v'],
    [1, 'v#2'],
  ])
  assert.equal(
    axes('down.weight').map(([axis]) => axis),
    [0, 1],
  )
  const before = run(net)
  run(aligned(spec, net, anyPermutation(spec, 7))).forEach((row, i) => {
    near(before[i]!, row, 1e-9)
  })
})

test.run()
