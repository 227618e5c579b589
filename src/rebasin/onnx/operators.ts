/** What the operators of ONNX (opsets 7 to 22) do to the axes of their inputs. */
import type { Axis } from './axes.js'
import type { OnnxNode } from './model.js'
import { flatten, LONGEST_SHAPE, reshape, SHAPES } from './reshape.js'
import { fromFront, integer, label, type Operator, unknown, type Value, type Walk } from './value.js'

/** Each element by itself, or places of an axis in any order alike: the output has the first input's axes. */
const same: Operator = (walk, node) => {
  const [first, ...rest] = node.inputs
  for (const name of rest) walk.stay(walk.value(name), `${label(node)} takes it`)
  const value = walk.value(first)
  const [out, ...others] = node.outputs
  walk.give(out, value, walk.sizes(first))
  for (const name of others) walk.give(name, value)
}

const isOne = (axis: Axis) => axis.length === 1 && axis.node === undefined

/** Broadcast from the last axis on: axes that meet go together. */
function broadcast(walk: Walk, values: readonly Value[], where: string): Value {
  if (values.some((value) => value === undefined)) {
    for (const value of values) walk.stay(value, `${where}: a shape is not known`)
    return undefined
  }
  const known = values as readonly (readonly Axis[])[]
  const rank = known.reduce((most, value) => Math.max(most, value.length), 0)
  return Array.from({ length: rank }, (_, i) => {
    const meeting = known
      .map((value) => value[value.length - rank + i])
      .filter((axis): axis is Axis => axis !== undefined)
    const long = meeting.filter((axis) => !isOne(axis))
    return long.length === 0 ? meeting[0]! : long.reduce((x, y) => walk.join(x, y, where))
  })
}

const elementwise: Operator = (walk, node) => {
  const values = node.inputs.filter((name) => name !== '').map((name) => walk.value(name))
  walk.give(node.outputs[0], broadcast(walk, values, label(node)))
}

/** Ties the only axis of parameters, one number a channel, to the channels. */
function perChannel(walk: Walk, node: OnnxNode, names: readonly (string | undefined)[], channel: Axis): void {
  for (const name of names) {
    const value = walk.value(name)
    if (value?.length === 1 && !isOne(value[0]!)) walk.join(value[0]!, channel, label(node))
    else if (value?.length !== 0)
      walk.stay([channel, ...(value ?? [])], `${label(node)}: a parameter's shape is not known`)
  }
}

const channelNorm: Operator = (walk, node) => {
  const x = walk.value(node.inputs[0])
  if (!x || x.length < 2 || node.outputs.filter((name) => name !== '').length > 1)
    return unknown(walk, node, 'has an unsupported form')
  perChannel(walk, node, node.inputs.slice(1), x[1]!)
  walk.give(node.outputs[0], x)
}

const layerNorm: Operator = (walk, node) => {
  const [x, ...parameters] = node.inputs.map((name) => walk.value(name))
  if (!x || node.outputs.filter((name) => name !== '').length > 1) return unknown(walk, node, 'has an unsupported form')
  broadcast(walk, [x, ...parameters], label(node))
  walk.give(node.outputs[0], x)
}

/** Channels of a convolution are axis 1; its kernel's places and the picture's keep their order. */
const convolution: Operator = (walk, node) => {
  const w = walk.value(node.inputs[1])
  const x: Value = walk.value(node.inputs[0]) ?? w?.map(() => ({}))
  if (!x || !w || x.length !== w.length || x.length < 3) return unknown(walk, node, 'has an unsupported form')
  walk.stay([...x.slice(2), ...w.slice(2)], `${label(node)}: places of pictures and kernels keep their order`)
  const transposed = node.op === 'ConvTranspose'
  const groups = integer(node, 'group', 1)
  const [rows, columns] = [w[transposed ? 1 : 0]!, w[transposed ? 0 : 1]!]
  const where = label(node)
  let out = rows
  if (groups === 1) walk.join(x[1]!, columns, where)
  else if (transposed && groups === columns.length && rows.length === 1) out = walk.join(columns, x[1]!, where)
  else if (!transposed && columns.length === 1 && x[1]!.node !== undefined && x[1]!.length === groups) {
    // Depthwise: each channel has a run of outputs of its own.
    const times = (rows.length ?? 0) / groups
    if (times === 1) walk.join(rows, x[1]!, where)
    else if (Number.isInteger(times) && times > 0)
      walk.join(rows, { node: walk.node(rows.length, x[1]!.node), length: rows.length! }, where)
    else walk.stay([rows, x[1]!], `${where}: the groups do not come out`)
  } else {
    walk.stay([x[1]!, rows, columns], `${where} is a grouped convolution`)
    if (transposed) out = {}
  }
  perChannel(walk, node, node.inputs.slice(2), out)
  walk.give(node.outputs[0], [
    x[0]!,
    out,
    ...spatial(
      node,
      x.slice(2),
      w.slice(2).map(({ length }) => length),
    ),
  ])
}

/** Sizes of a picture after a convolution or pooling, where they follow from numbers. */
function spatial(node: OnnxNode, axes: readonly Axis[], kernel: readonly (number | undefined)[]): Axis[] {
  const list = (name: string) => node.integers.get(name)
  return axes.map(({ length }, i) => {
    const k = kernel[i]
    const plain = node.op !== 'ConvTranspose' && integer(node, 'ceil_mode', 0) === 0
    // The attribute auto_pad is a text: where it stands, pads do not, and sizes are left open.
    if (!plain || length === undefined || k === undefined || !list('pads')) return {}
    const pads = list('pads')!
    const around = (pads[i] ?? 0) + (pads[i + axes.length] ?? 0)
    const size =
      Math.floor((length + around - (list('dilations')?.[i] ?? 1) * (k - 1) - 1) / (list('strides')?.[i] ?? 1)) + 1
    return Number.isSafeInteger(size) && size > 0 ? { length: size } : {}
  })
}

const pool: Operator = (walk, node) => {
  const x = walk.value(node.inputs[0])
  if (!x || x.length < 3 || node.outputs.length !== 1) return unknown(walk, node, 'has an unsupported form')
  walk.stay(x.slice(2), `${label(node)}: places of pictures keep their order`)
  const global = node.op.startsWith('Global')
  const after = x.slice(2).map(() => ({ length: 1 }))
  walk.give(node.outputs[0], [
    ...x.slice(0, 2),
    ...(global ? after : spatial(node, x.slice(2), node.integers.get('kernel_shape') ?? [])),
  ])
}

const gemm: Operator = (walk, node) => {
  const [first, b, c] = [0, 1, 2].map((i) => walk.value(node.inputs[i]))
  // It takes matrices only: one of unknown shape is one whose axes keep their order.
  const a = first ?? [{}, {}]
  if (a.length !== 2 || b?.length !== 2) return unknown(walk, node, 'has an unsupported form')
  const [rows, left] = integer(node, 'transA', 0) ? [a[1]!, a[0]!] : [a[0]!, a[1]!]
  const [right, columns] = integer(node, 'transB', 0) ? [b[1]!, b[0]!] : [b[0]!, b[1]!]
  walk.join(left, right, label(node))
  const out = [rows, columns]
  if (node.inputs[2] !== undefined && node.inputs[2] !== '') broadcast(walk, [out, c], label(node))
  walk.give(node.outputs[0], out)
}

const matmul: Operator = (walk, node) => {
  const [a, b] = [walk.value(node.inputs[0]), walk.value(node.inputs[1])]
  if (!a || !b || a.length < 2 || b.length < 2) return unknown(walk, node, 'has an unsupported form')
  walk.join(a.at(-1)!, b.at(-2)!, label(node))
  const batch = broadcast(walk, [a.slice(0, -2), b.slice(0, -2)], label(node))!
  walk.give(node.outputs[0], [...batch, a.at(-2)!, b.at(-1)!])
}

/** Sums and means go over all places of an axis: their order is of no account. */
const reduce: Operator = (walk, node) => {
  const x = walk.value(node.inputs[0])
  const given = node.integers.get('axes') ?? (node.inputs[1] ? walk.numbers(node.inputs[1]) : [])
  if (!x || !given || (given.length === 0 && integer(node, 'noop_with_empty_axes', 0) !== 0))
    return unknown(walk, node, 'has unknown axes')
  const gone = given.length === 0 ? x.map((_, i) => i) : given.map((axis) => fromFront(axis, x.length))
  const keep = integer(node, 'keepdims', 1) !== 0
  walk.give(
    node.outputs[0],
    x.flatMap((axis, i) => (!gone.includes(i) ? [axis] : keep ? [{ length: 1 }] : [])),
  )
}

const concat: Operator = (walk, node) => {
  const sizes = node.inputs.map((name) => walk.sizes(name))
  const values = node.inputs.map((name) => walk.value(name))
  const rank = values[0]?.length
  if (rank === undefined || values.some((value) => value?.length !== rank))
    return unknown(walk, node, 'joins values of unknown shapes')
  const at = fromFront(integer(node, 'axis', 0), rank)
  const lengths = values.map((value) => value![at]?.length)
  const whole = lengths.every((length) => length !== undefined) ? lengths.reduce((sum, n) => sum! + n!, 0) : undefined
  for (const value of values) walk.stay(value!.slice(at, at + 1), `${label(node)} joins along it`)
  const out = values[0]!.map((first, i) => {
    if (i === at) return whole === undefined ? {} : { length: whole }
    return values
      .slice(1)
      .reduce(
        (axis: Axis, value) => (isOne(axis) && isOne(value![i]!) ? axis : walk.join(axis, value![i]!, label(node))),
        first,
      )
  })
  // A shape that is put together: places of unknown numbers are places all the same.
  const places = rank === 1 ? sizes.map((size, i) => size?.length ?? lengths[i]) : []
  const total = places.reduce<number>((sum, n) => sum + (n ?? Number.POSITIVE_INFINITY), 0)
  const shape =
    rank === 1 && total <= LONGEST_SHAPE
      ? sizes.flatMap((size, i) => size ?? Array<undefined>(places[i]!).fill(undefined))
      : undefined
  walk.give(node.outputs[0], out, shape)
}

/** Rows of a table, an embedding above all. The rows keep their order: indices name them. */
const gather: Operator = (walk, node) => {
  const [x, index] = [walk.value(node.inputs[0]), walk.value(node.inputs[1])]
  if (!x || !index) return unknown(walk, node, 'has an unsupported form')
  const at = fromFront(integer(node, 'axis', 0), x.length)
  walk.stay(x.slice(at, at + 1), `${label(node)}: indices name its places`)
  walk.stay(index, `${label(node)} takes it as indices`)
  const sizes = walk.sizes(node.inputs[0])
  const places = walk.numbers(node.inputs[1])
  walk.give(
    node.outputs[0],
    [...x.slice(0, at), ...index, ...x.slice(at + 1)],
    sizes && places && at === 0 ? places.map((place) => sizes.at(place)) : undefined,
  )
}

const transpose: Operator = (walk, node) => {
  const x = walk.value(node.inputs[0])
  const order = node.integers.get('perm') ?? x?.map((_, i) => x.length - 1 - i)
  // Axes of a value of unknown shape all keep their order.
  if (!x && order)
    return walk.give(
      node.outputs[0],
      order.map(() => ({})),
    )
  if (!x || order?.length !== x.length || new Set(order).size !== x.length || order.some((i) => !x[i]))
    return unknown(walk, node, 'has an unsupported form')
  walk.give(
    node.outputs[0],
    order.map((i) => x[i]!),
  )
}

const table = (operator: Operator, names: string): [string, Operator][] =>
  names.split(' ').map((name) => [name, operator])

export const OPERATORS: Readonly<Record<string, Operator>> = Object.assign(
  Object.create(null),
  Object.fromEntries([
    ...table(
      same,
      'Relu LeakyRelu Elu Selu Celu Gelu ThresholdedRelu HardSigmoid HardSwish Sigmoid Tanh Erf Exp Log Sqrt Reciprocal',
    ),
    ...table(
      same,
      'Neg Abs Clip Identity Dropout Cast Softplus Softsign Mish Floor Ceil Round Sign Not Sin Cos IsNaN Softmax LogSoftmax',
    ),
    ...table(
      elementwise,
      'Add Sub Mul Div Pow Min Max Sum Mean PRelu Where Greater Less GreaterOrEqual LessOrEqual Equal And Or Xor',
    ),
    ...table(channelNorm, 'BatchNormalization InstanceNormalization'),
    ...table(layerNorm, 'LayerNormalization RMSNormalization SimplifiedLayerNormalization'),
    ...table(convolution, 'Conv ConvTranspose'),
    ...table(pool, 'MaxPool AveragePool LpPool GlobalAveragePool GlobalMaxPool'),
    ...table(
      reduce,
      'ReduceMean ReduceSum ReduceMax ReduceMin ReduceL1 ReduceL2 ReduceSumSquare ReduceProd ReduceLogSumExp',
    ),
    ['Gemm', gemm],
    ['MatMul', matmul],
    ['Concat', concat],
    ['Gather', gather],
    ['Transpose', transpose],
    ['Flatten', flatten],
    ['Reshape', reshape],
    ...Object.entries(SHAPES),
  ]),
)
