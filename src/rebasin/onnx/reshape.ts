/** Operators that change shapes, and the small integer arithmetic by which graphs compute them. */
import type { Axis } from './axes.js'
import type { OnnxNode } from './model.js'
import { fromFront, integer, label, type Operator, type Size, unknown, type Walk } from './value.js'

/** Shapes that a graph computes have few places: longer lists are no shapes. */
export const LONGEST_SHAPE = 64

/** Several axes made one. Units stay whole where the slowest axis alone has them. */
function merge(walk: Walk, axes: readonly Axis[], where: string): Axis {
  const long = axes.filter(({ node, length }) => node !== undefined || length !== 1)
  if (long.length < 2) return long[0] ?? { length: 1 }
  const [first, ...rest] = long as [Axis, ...Axis[]]
  walk.stay(rest, `${where} flattens it behind another axis`)
  const times = rest.every(({ length }) => length !== undefined)
    ? rest.reduce((product, { length }) => product * length!, 1)
    : undefined
  const length = times === undefined || first.length === undefined ? undefined : first.length * times
  const sized = length !== undefined && Number.isSafeInteger(length) ? { length } : {}
  return first.node === undefined ? sized : { ...sized, node: walk.node(sized.length, first.node) }
}

export const flatten: Operator = (walk, node) => {
  const x = walk.value(node.inputs[0])
  if (!x) return unknown(walk, node, 'has an unsupported form')
  const at = fromFront(integer(node, 'axis', 1), x.length)
  walk.give(node.outputs[0], [merge(walk, x.slice(0, at), label(node)), merge(walk, x.slice(at), label(node))])
}

/** Whether a target's place is an axis as it was. */
const isAxis = (size: Size, axis: Axis | undefined): boolean =>
  axis !== undefined &&
  size !== undefined &&
  (typeof size === 'number' ? size > 0 && size === axis.length : size === axis)

/** Axes that are the same in front and at the end are kept: what is between them is cut anew. */
export const reshape: Operator = (walk, node) => {
  const x = walk.value(node.inputs[0])
  const target = walk.sizes(node.inputs[1])
  if (!target) return unknown(walk, node, 'reshapes to an unknown shape')
  // Axes of a value of unknown shape all keep their order: so do those that it is cut into.
  if (!x)
    return walk.give(
      node.outputs[0],
      target.map((size) => lengthOf(size) ?? {}),
    )
  const zero = integer(node, 'allowzero', 0) === 0
  const sizes = target.map((size, i) => (size === 0 && zero ? x[i] : size))
  let front = 0
  while (front < Math.min(x.length, sizes.length) && isAxis(sizes[front], x[front])) front++
  let back = 0
  const most = Math.min(x.length, sizes.length) - front
  while (back < most && isAxis(sizes[sizes.length - 1 - back], x[x.length - 1 - back])) back++
  const middle = x.slice(front, x.length - back)
  const wanted = sizes.slice(front, sizes.length - back)
  const where = label(node)
  let made: Axis[]
  const inner = middle
    .slice(1)
    .reduce<number | undefined>(
      (n, { length }) => (n === undefined || length === undefined ? undefined : n * length),
      1,
    )
  const perPicture = (middle[0]?.length ?? 0) * (inner ?? 0)
  if (wanted.length === 1 && middle.length > 0) made = [merge(walk, middle, where)]
  else if (wanted.length === 2 && middle.length > 1 && inner !== undefined && wanted[1] === inner)
    made = [middle[0]!, merge(walk, middle.slice(1), where)]
  else {
    walk.stay(middle, `${where} cuts it into parts`)
    const rest = wanted.length === 1 && perPicture > 0
    made = wanted.map((size) => lengthOf(size) ?? (rest ? { length: perPicture } : {}))
  }
  walk.give(node.outputs[0], [...x.slice(0, front), ...made, ...x.slice(x.length - back)])
}

/** An axis that keeps its order, of a length that a shape gives. */
const lengthOf = (size: Size): Axis | undefined =>
  typeof size === 'number'
    ? size > 0
      ? { length: size }
      : undefined
    : size?.length === undefined
      ? undefined
      : { length: size.length }

const shape: Operator = (walk, node) => {
  const x = walk.value(node.inputs[0])
  const part = node.integers.has('start') || node.integers.has('end')
  walk.give(
    node.outputs[0],
    [x && !part ? { length: x.length } : {}],
    x && !part ? x.map((axis) => axis.length ?? axis) : undefined,
  )
}

const constant: Operator = (walk, node) => {
  const value = node.integers.get('value_ints') ?? node.integers.get('value_int')
  if (node.tensor) {
    walk.give(
      node.outputs[0],
      node.tensor.dims.map((length) => ({ length })),
      node.tensor.integers,
    )
  } else if (value) walk.give(node.outputs[0], node.integers.has('value_ints') ? [{ length: value.length }] : [], value)
  else walk.give(node.outputs[0], undefined)
}

/** Numbers that the graph makes by itself go by no units. */
const filled: Operator = (walk, node) => {
  const sizes = walk.sizes(node.inputs[0])
  walk.give(
    node.outputs[0],
    sizes?.map((size) => lengthOf(size) ?? {}),
  )
}

const range: Operator = (walk, node) => walk.give(node.outputs[0], [{}])

const triangle: Operator = (walk, node) => {
  const x = walk.value(node.inputs[0])
  if (!x) return unknown(walk, node, 'has an unsupported form')
  walk.stay(x.slice(-2), `${label(node)} takes its places by their order`)
  walk.give(node.outputs[0], x)
}

const axesOf = (walk: Walk, node: OnnxNode): readonly number[] | undefined =>
  node.integers.get('axes') ?? (node.inputs[1] ? walk.numbers(node.inputs[1]) : undefined)

const unsqueeze: Operator = (walk, node) => {
  const [x, axes] = [walk.value(node.inputs[0]), axesOf(walk, node)]
  if (!x || !axes || axes.length > LONGEST_SHAPE) return unknown(walk, node, 'has unknown axes')
  const rank = x.length + axes.length
  const ones = axes.map((axis) => fromFront(axis, rank))
  let next = 0
  const out = Array.from({ length: rank }, (_, i) => (ones.includes(i) ? { length: 1 } : (x[next++] ?? {})))
  walk.give(node.outputs[0], out, x.length === 0 ? walk.sizes(node.inputs[0]) : undefined)
}

const squeeze: Operator = (walk, node) => {
  const [x, axes] = [walk.value(node.inputs[0]), axesOf(walk, node)]
  if (!x || !axes) return unknown(walk, node, 'has unknown axes')
  const gone = axes.map((axis) => fromFront(axis, x.length))
  walk.stay(
    x.filter((_, i) => gone.includes(i)),
    `${label(node)} takes it away`,
  )
  walk.give(
    node.outputs[0],
    x.filter((_, i) => !gone.includes(i)),
    x.length === 1 ? walk.sizes(node.inputs[0]) : undefined,
  )
}

/** A run of places: these axes keep their order. */
const slice: Operator = (walk, node) => {
  const x = walk.value(node.inputs[0])
  const starts = node.integers.get('starts') ?? walk.numbers(node.inputs[1])
  const given = node.integers.get('axes') ?? (node.inputs[3] ? walk.numbers(node.inputs[3]) : starts?.map((_, i) => i))
  if (!x || !given) return unknown(walk, node, 'has unknown axes')
  const cut = given.map((axis) => fromFront(axis, x.length))
  walk.stay(
    x.filter((_, i) => cut.includes(i)),
    `${label(node)} takes a part of it`,
  )
  walk.give(
    node.outputs[0],
    x.map((axis, i) => (cut.includes(i) ? {} : axis)),
  )
}

const split: Operator = (walk, node) => {
  const x = walk.value(node.inputs[0])
  if (!x) return unknown(walk, node, 'has an unsupported form')
  const at = fromFront(integer(node, 'axis', 0), x.length)
  walk.stay(x.slice(at, at + 1), `${label(node)} cuts it into parts`)
  for (const name of node.outputs)
    walk.give(
      name,
      x.map((axis, i) => (i === at ? {} : axis)),
    )
}

/** Repeats axes of length one; the others stay what they are. */
const expand: Operator = (walk, node) => {
  const [x, target] = [walk.value(node.inputs[0]), walk.sizes(node.inputs[1])]
  if (!x || !target) return unknown(walk, node, 'reshapes to an unknown shape')
  const rank = Math.max(x.length, target.length)
  const out = Array.from({ length: rank }, (_, i) => {
    const axis = x[x.length - rank + i]
    const repeated = axis === undefined || (axis.node === undefined && axis.length === 1)
    return repeated ? (lengthOf(target[target.length - rank + i]) ?? {}) : axis
  })
  walk.give(node.outputs[0], out)
}

const pad: Operator = (walk, node) => {
  const x = walk.value(node.inputs[0])
  const pads = node.integers.get('pads') ?? walk.numbers(node.inputs[1])
  if (!x || pads?.length !== 2 * x.length || node.inputs[3]) return unknown(walk, node, 'has an unsupported form')
  const cut = x.map((_, i) => pads[i] !== 0 || pads[i + x.length] !== 0)
  walk.stay(
    x.filter((_, i) => cut[i]),
    `${label(node)} adds places to it`,
  )
  walk.give(
    node.outputs[0],
    x.map((axis, i) => (cut[i] ? {} : axis)),
  )
}

export const SHAPES: Readonly<Record<string, Operator>> = {
  Shape: shape,
  Constant: constant,
  ConstantOfShape: filled,
  Range: range,
  Trilu: triangle,
  Unsqueeze: unsqueeze,
  Squeeze: squeeze,
  Slice: slice,
  Split: split,
  Expand: expand,
  Pad: pad,
}
