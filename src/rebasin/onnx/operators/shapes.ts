/** Shapes that a graph computes, and constants. */
import { type Axis, constantAxes, plain } from '../../axes/axis.js'
import { fromFront, label, type Operator, type Size, stay, unknown } from '../value.js'

/** Shapes have few places: a longer list of integers is not a shape. */
export const LONGEST_SHAPE = 64

const shape: Operator = (walk, node) => {
  const x = walk.value(node.inputs[0])
  const [start, end] = ['start', 'end'].map((name) => node.integers.get(name)?.[0])
  const rank = x?.length ?? 0
  const part = x?.slice(fromFront(start ?? 0, rank), end === undefined ? rank : fromFront(end, rank))
  walk.give(
    node.outputs[0],
    [part ? plain(part.length) : {}],
    part?.map((axis): Size => axis.length ?? axis),
  )
}

const constant: Operator = (walk, node) => {
  const value = node.integers.get('value_ints') ?? node.integers.get('value_int')
  if (node.tensor) {
    walk.give(node.outputs[0], constantAxes(node.tensor), node.tensor.integers)
  } else if (value) walk.give(node.outputs[0], node.integers.has('value_ints') ? [plain(value.length)] : [], value)
  else if (node.isNumber) walk.give(node.outputs[0], [])
  else walk.give(node.outputs[0], undefined)
}

/** The same number at all places. */
const filled: Operator = (walk, node) => {
  const sizes = walk.sizes(node.inputs[0])
  walk.give(
    node.outputs[0],
    sizes?.map((size): Axis => {
      const length = typeof size === 'number' ? size : size?.length
      return { ...plain(length), uniform: true }
    }),
  )
}

const range: Operator = (walk, node) => walk.give(node.outputs[0], [{}])

const triangle: Operator = (walk, node) => {
  const x = walk.value(node.inputs[0])
  if (!x) return unknown(walk, node, 'has an unsupported form')
  stay(walk, x.slice(-2), `${label(node)} takes its places in their order`)
  walk.give(
    node.outputs[0],
    x.map((axis, i) => (i < x.length - 2 ? axis : plain(axis.length))),
  )
}

export const SHAPES: readonly [string, Operator][] = [
  ['Shape', shape],
  ['Constant', constant],
  ['ConstantOfShape', filled],
  ['Range', range],
  ['Trilu', triangle],
]
