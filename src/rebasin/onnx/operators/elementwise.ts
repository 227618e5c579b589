/** Operators on single elements, and norms. */
import { type Axis, isOne, plain } from '../../axes/axis.js'
import { markBlocks } from '../../axes/blocks.js'
import { broadcast, join, markInner } from '../../axes/join.js'
import type { OnnxNode } from '../graph/model.js'
import { fromFront, integer, label, type Operator, type Size, stay, unknown, type Walk } from '../value.js'

/** Each element by itself, or all places of an axis in the same way: the output has the axes of the first input. */
const same: Operator = (walk, node) => {
  const [first, ...rest] = node.inputs
  for (const name of rest) stay(walk, walk.value(name), `${label(node)} takes it`)
  const value = walk.value(first)
  if (node.op.endsWith('Softmax')) softmax(walk, node, value ?? [])
  const [out, ...others] = node.outputs
  walk.give(out, value, walk.sizes(first))
  for (const name of others) walk.give(name, value)
}

/** Over an axis that was cut, a softmax relates units of a block, or of several blocks. */
function softmax(walk: Walk, node: OnnxNode, value: readonly Axis[]): void {
  const axis = value[fromFront(integer(node, 'axis', -1), value.length)]
  markInner(value)
  const inner = value.filter((each) => each.inner)
  if (axis?.outer) stay(walk, inner, `${label(node)} relates its parts`)
}

/** Arithmetic of the integers that give shapes. */
const ARITHMETIC: Readonly<Record<string, (x: number, y: number) => number>> = {
  Add: (x, y) => x + y,
  Sub: (x, y) => x - y,
  Mul: (x, y) => x * y,
  Div: (x, y) => Math.trunc(x / y),
}

const elementwise: Operator = (walk, node) => {
  const inputs = node.inputs.filter((name) => name !== '')
  walk.give(
    node.outputs[0],
    broadcast(
      walk,
      inputs.map((name) => walk.value(name)),
      label(node),
    ),
    shapeOf(walk, node),
  )
}

function shapeOf(walk: Walk, { op, inputs }: OnnxNode): readonly Size[] | undefined {
  const compute = Object.hasOwn(ARITHMETIC, op) ? ARITHMETIC[op] : undefined
  const [x, y] = [walk.numbers(inputs[0]), walk.numbers(inputs[1])]
  if (!compute || !x || !y || x.length === 0 || y.length === 0) return undefined
  if (x.length !== y.length && x.length !== 1 && y.length !== 1) return undefined
  const sizes = Array.from({ length: Math.max(x.length, y.length) }, (_, i) =>
    compute(x[x.length === 1 ? 0 : i]!, y[y.length === 1 ? 0 : i]!),
  )
  return sizes.every(Number.isSafeInteger) ? sizes : undefined
}

/** Ties the only axis of parameters, with one number per channel, to the channels. */
export function perChannel(walk: Walk, node: OnnxNode, names: readonly (string | undefined)[], channel: Axis): void {
  for (const name of names) {
    if (name === undefined || name === '') continue
    const value = walk.value(name)
    if (value?.length === 1) {
      if (!isOne(value[0]!)) join(walk, value[0]!, channel, label(node))
    } else if (value?.length !== 0)
      stay(walk, [channel, ...(value ?? [])], `${label(node)}: a parameter's shape is not known`)
  }
}

const isOneOutput = ({ outputs }: OnnxNode) => outputs.filter((name) => name !== '').length === 1

const channelNorm: Operator = (walk, node) => {
  const x = walk.value(node.inputs[0])
  if (!x || x.length < 2 || !isOneOutput(node)) return unknown(walk, node, 'has an unsupported form')
  if (node.op === 'InstanceNormalization') markInner(x.slice(2))
  // A GroupNorm is exported as an InstanceNormalization of a value that is cut into groups.
  perChannel(walk, node, node.inputs.slice(1), x[1]!)
  walk.give(node.outputs[0], x)
}

/** Channels can change places within their group. */
const groupNorm: Operator = (walk, node) => {
  const x = walk.value(node.inputs[0])
  const groups = integer(node, 'num_groups', 0)
  const channel = x?.[1]
  if (!x || !channel || channel.length === undefined || groups < 1 || channel.length % groups !== 0)
    return unknown(walk, node, 'has an unsupported form')
  perChannel(walk, node, node.inputs.slice(1), channel)
  markBlocks(walk, channel, channel.length / groups)
  walk.give(node.outputs[0], x)
}

const layerNorm: Operator = (walk, node) => {
  const [x, ...parameters] = node.inputs.map((name) => walk.value(name))
  if (!x || !isOneOutput(node)) return unknown(walk, node, 'has an unsupported form')
  markInner(x)
  broadcast(walk, [x, ...parameters], label(node))
  walk.give(node.outputs[0], x)
}

/** Sums and means are over all places of an axis, in any order. */
const reduce: Operator = (walk, node) => {
  const x = walk.value(node.inputs[0])
  const given = node.integers.get('axes') ?? (node.inputs[1] ? walk.numbers(node.inputs[1]) : [])
  if (!x || !given || (given.length === 0 && integer(node, 'noop_with_empty_axes', 0) !== 0))
    return unknown(walk, node, 'has unknown axes')
  const gone = given.length === 0 ? x.map((_, i) => i) : given.map((axis) => fromFront(axis, x.length))
  const keep = integer(node, 'keepdims', 1) !== 0
  const left = x.filter((_, i) => !gone.includes(i))
  markInner(x.filter((_, i) => gone.includes(i)))
  // Without its outer axes, an inner axis is a sum over blocks.
  const outers = new Set(left.map(({ outer }) => outer))
  const broken = left.filter(({ inner }) => inner?.outers.some((outer) => !outers.has(outer)))
  stay(walk, broken, `${label(node)} adds up its parts`)
  walk.give(
    node.outputs[0],
    x.flatMap((axis, i) =>
      !gone.includes(i) ? [broken.includes(axis) ? plain(axis.length) : axis] : keep ? [plain(1)] : [],
    ),
  )
}

const table = (operator: Operator, names: string): [string, Operator][] =>
  names.split(' ').map((name) => [name, operator])

export const ELEMENTWISE: readonly [string, Operator][] = [
  ...table(
    same,
    'Relu LeakyRelu Elu Selu Celu Gelu ThresholdedRelu HardSigmoid HardSwish Sigmoid Tanh Erf Exp Log Sqrt Reciprocal',
  ),
  ...table(
    same,
    'Neg Abs Clip Identity Dropout Cast Softplus Softsign Mish Swish Floor Ceil Round Sign Not Sin Cos IsNaN Softmax LogSoftmax',
  ),
  ...table(
    elementwise,
    'Add Sub Mul Div Pow Min Max Sum Mean PRelu Where Greater Less GreaterOrEqual LessOrEqual Equal And Or Xor Mod',
  ),
  ...table(channelNorm, 'BatchNormalization InstanceNormalization'),
  ['GroupNormalization', groupNorm],
  ...table(layerNorm, 'LayerNormalization RMSNormalization SimplifiedLayerNormalization'),
  ...table(
    reduce,
    'ReduceMean ReduceSum ReduceMax ReduceMin ReduceL1 ReduceL2 ReduceSumSquare ReduceProd ReduceLogSum ReduceLogSumExp',
  ),
]
