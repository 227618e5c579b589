/** Convolutions and pooling. */
import { type Axis, plain } from '../../axes/axis.js'
import { groupedOutputs } from '../../axes/blocks.js'
import { contract, join } from '../../axes/join.js'
import type { OnnxNode } from '../graph/model.js'
import { integer, label, type Operator, stay, unknown, type Value, type Walk } from '../value.js'
import { perChannel } from './elementwise.js'

/** Channels of a convolution are axis 1. The places of its kernel and of the picture keep their order. */
const convolution: Operator = (walk, node) => {
  const w = walk.value(node.inputs[1])
  const x: Value = walk.value(node.inputs[0]) ?? w?.map(() => ({}))
  if (!x || !w || x.length !== w.length || x.length < 3) return unknown(walk, node, 'has an unsupported form')
  stay(walk, [...x.slice(2), ...w.slice(2)], `${label(node)}: places of pictures and kernels keep their order`)
  const groups = integer(node, 'group', 1)
  const out = groups === 1 ? fullChannels(walk, node, x[1]!, w) : groupedChannels(walk, node, x[1]!, w, groups)
  perChannel(walk, node, node.inputs.slice(2), out)
  for (const axis of walk.folded(node)) join(walk, axis, out, label(node))
  const kernel = w.slice(2).map(({ length }) => length)
  walk.give(node.outputs[0], [x[0]!, out, ...spatial(node, x.slice(2), kernel)])
}

const isTransposed = ({ op }: OnnxNode) => op === 'ConvTranspose'

/** Ties the input channels. Returns the output channels. */
function fullChannels(walk: Walk, node: OnnxNode, channels: Axis, w: readonly Axis[]): Axis {
  const [rows, columns] = isTransposed(node) ? [w[1]!, w[0]!] : [w[0]!, w[1]!]
  contract(walk, channels, columns, label(node))
  return rows
}

function groupedChannels(walk: Walk, node: OnnxNode, channels: Axis, w: readonly Axis[], groups: number): Axis {
  const where = label(node)
  const [first, second] = [w[0]!, w[1]!]
  if (isTransposed(node)) {
    if (second.length === 1 && first.length === groups) return join(walk, first, channels, where)
    stay(walk, [channels, first, second], `${where} is a grouped convolution`)
    return plain(second.length === undefined ? undefined : second.length * groups)
  }
  return groupedOutputs(walk, channels, [first, second], groups, where)
}

/** Sizes of a picture after a convolution or pooling, if they follow from numbers. */
function spatial(node: OnnxNode, axes: readonly Axis[], kernel: readonly (number | undefined)[]): Axis[] {
  const list = (name: string) => node.integers.get(name)
  return axes.map(({ length }, i) => {
    const k = kernel[i]
    const isSimple =
      !isTransposed(node) &&
      integer(node, 'ceil_mode', 0) === 0 &&
      (node.texts.get('auto_pad') ?? 'NOTSET') === 'NOTSET'
    if (length === undefined || k === undefined || !isSimple) return {}
    const pads = list('pads') ?? []
    const around = (pads[i] ?? 0) + (pads[i + axes.length] ?? 0)
    const size =
      Math.floor((length + around - (list('dilations')?.[i] ?? 1) * (k - 1) - 1) / (list('strides')?.[i] ?? 1)) + 1
    return Number.isSafeInteger(size) && size > 0 ? plain(size) : {}
  })
}

const pool: Operator = (walk, node) => {
  const x = walk.value(node.inputs[0])
  if (!x || x.length < 3 || node.outputs.length !== 1) return unknown(walk, node, 'has an unsupported form')
  stay(walk, x.slice(2), `${label(node)}: places of pictures keep their order`)
  const after = node.op.startsWith('Global')
    ? x.slice(2).map(() => plain(1))
    : spatial(node, x.slice(2), node.integers.get('kernel_shape') ?? [])
  walk.give(node.outputs[0], [...x.slice(0, 2), ...after])
}

/** Pictures of another size, each channel alone. */
const resize: Operator = (walk, node) => {
  const x = walk.value(node.inputs[0])
  if (!x || x.length < 3) return unknown(walk, node, 'has an unsupported form')
  stay(walk, x.slice(2), `${label(node)}: places of pictures keep their order`)
  const told = walk.told(node.outputs[0] ?? '')
  const sizes = walk.sizes(node.inputs[3])
  const picture = x.slice(2).map((_, i) => {
    const size = sizes?.[i + 2]
    return plain(typeof size === 'number' ? size : told?.[i + 2]?.length)
  })
  walk.give(node.outputs[0], [...x.slice(0, 2), ...picture])
}

export const CONVOLUTIONS: readonly [string, Operator][] = [
  ['Conv', convolution],
  ['ConvTranspose', convolution],
  ...['MaxPool', 'AveragePool', 'LpPool', 'GlobalAveragePool', 'GlobalMaxPool'].map((op): [string, Operator] => [
    op,
    pool,
  ]),
  ['Resize', resize],
  ['Upsample', resize],
]
