/** Reshape and Flatten: axes are put together and cut. */
import { type Axis, isOne, plain } from '../../axes/axis.js'
import { cutAxis } from '../../axes/cut.js'
import { mergeAxes } from '../../axes/merge.js'
import { fromFront, integer, label, type Operator, type Size, stay, unknown, type Walk } from '../value.js'

export const flatten: Operator = (walk, node) => {
  const x = walk.value(node.inputs[0])
  if (!x) return unknown(walk, node, 'has an unsupported form')
  const at = fromFront(integer(node, 'axis', 1), x.length)
  const [front, back] = [mergeAxes(walk, x.slice(0, at), label(node)), mergeAxes(walk, x.slice(at), label(node))]
  walk.give(node.outputs[0], [front.axis, back.axis].map(back.change).map(front.change))
}

/** Whether a size of the target is an axis of the value, unchanged. */
const isAxis = (size: Size, axis: Axis | undefined): boolean =>
  axis !== undefined &&
  size !== undefined &&
  (typeof size === 'number' ? size > 0 && size === axis.length : size === axis)

/** An axis that keeps its order, of a length that a shape gives. */
export const lengthOf = (size: Size): Axis | undefined =>
  typeof size === 'number' ? (size > 0 ? plain(size) : undefined) : size && plain(size.length)

/** Axes that go together: these of the value become those of the result. */
interface Group {
  readonly from: readonly Axis[]
  /** Lengths; -1 for the only one that is not known. */
  readonly to: readonly number[]
}

export const reshape: Operator = (walk, node) => {
  const x = walk.value(node.inputs[0])
  const target = walk.sizes(node.inputs[1])
  if (!target) return unknown(walk, node, 'reshapes to an unknown shape')
  // All axes of a value of unknown shape keep their order.
  if (!x)
    return walk.give(
      node.outputs[0],
      target.map((size) => lengthOf(size) ?? {}),
    )
  const zero = integer(node, 'allowzero', 0) === 0
  const sizes = target.map((size, i): Size => (size === 0 && zero ? x[i] : size))
  let front = 0
  while (front < Math.min(x.length, sizes.length) && isAxis(sizes[front], x[front])) front++
  const most = Math.min(x.length, sizes.length) - front
  let back = 0
  while (back < most && isAxis(sizes[sizes.length - 1 - back], x[x.length - 1 - back])) back++
  const middle = x.slice(front, x.length - back)
  const wanted = sizes.slice(front, sizes.length - back)
  const made = regroup(walk, middle, wanted, label(node))
  const out = [...x.slice(0, front), ...made.axes, ...x.slice(x.length - back)]
  walk.give(node.outputs[0], out.map(made.change))
}

interface Regrouped {
  readonly axes: readonly Axis[]
  readonly change: (axis: Axis) => Axis
}

function regroup(walk: Walk, axes: readonly Axis[], wanted: readonly Size[], where: string): Regrouped {
  const groups = groupsOf(axes, wanted)
  if (!groups) {
    stay(walk, axes, `${where} cuts it into parts`)
    return { axes: wanted.map((size) => lengthOf(size) ?? {}), change: (axis) => axis }
  }
  const made: Axis[] = []
  const changes: ((axis: Axis) => Axis)[] = []
  for (const { from, to } of groups) {
    const merged = mergeAxes(walk, from, where)
    const cut = cutAxis(walk, merged.axis, to, where)
    made.push(...cut.axes)
    changes.push(merged.change, cut.change)
  }
  return { axes: made, change: (axis) => changes.reduce((changed, change) => change(changed), axis) }
}

/** Which axes become which, by their lengths; undefined if that is not known. */
function groupsOf(axes: readonly Axis[], wanted: readonly Size[]): Group[] | undefined {
  if (wanted.length === 0) return axes.length === 0 || axes.every(isOne) ? [{ from: axes, to: [] }] : undefined
  if (axes.length === 0)
    return wanted.every((size) => size === 1) ? wanted.map(() => ({ from: [], to: [1] })) : undefined
  if (wanted.length === 1) return [{ from: axes, to: [numberOf(wanted[0]) ?? -1] }]
  const lengths = axes.map(({ length }) => length)
  const sizes = inferred(lengths, wanted.map(numberOf))
  if (!sizes || lengths.some((length) => length === undefined)) return afterFirst(axes, wanted)
  const groups: Group[] = []
  let [i, j] = [0, 0]
  while (i < axes.length || j < sizes.length) {
    const [from, to]: [Axis[], number[]] = [[], []]
    let [left, right] = [1, 1]
    do {
      if (left <= right && i < axes.length) {
        from.push(axes[i]!)
        left *= lengths[i++]!
      } else if (j < sizes.length) {
        to.push(sizes[j]!)
        right *= sizes[j++]!
      } else return undefined
    } while (left !== right || to.length === 0 || from.length === 0)
    groups.push({ from, to })
    // Axes of one place belong to any group.
    while (i < axes.length && lengths[i] === 1 && j >= sizes.length) groups.at(-1)!.from.concat(axes[i++]!)
    while (j < sizes.length && sizes[j] === 1 && i >= axes.length) (groups.at(-1)!.to as number[]).push(sizes[j++]!)
  }
  return groups
}

/** The first axis has an unknown length, such as a batch, and stays; all others are put together. */
function afterFirst(axes: readonly Axis[], wanted: readonly Size[]): Group[] | undefined {
  const rest = axes.slice(1).map(({ length }) => length)
  if (wanted.length !== 2 || rest.length === 0 || rest.some((length) => length === undefined)) return undefined
  const product = rest.reduce<number>((all, length) => all * length!, 1)
  if (numberOf(wanted[1]) !== product) return undefined
  return [
    { from: axes.slice(0, 1), to: [-1] },
    { from: axes.slice(1), to: [product] },
  ]
}

const numberOf = (size: Size): number | undefined => (typeof size === 'number' ? size : size?.length)

/** Sizes with the one that is -1 computed, if the others are known. */
function inferred(
  lengths: readonly (number | undefined)[],
  sizes: readonly (number | undefined)[],
): readonly number[] | undefined {
  if (sizes.some((size) => size === undefined)) return undefined
  const known = sizes as readonly number[]
  const open = known.filter((size) => size < 0).length
  const all = lengths.reduce<number>((product, length) => product * (length ?? Number.NaN), 1)
  const rest = known.reduce((product, size) => (size < 0 ? product : product * size), 1)
  if (open > 1 || !Number.isSafeInteger(all) || !Number.isSafeInteger(rest) || rest === 0) return undefined
  const found = known.map((size) => (size < 0 ? all / rest : size))
  const total = found.reduce((product, size) => product * size, 1)
  return total === all && found.every(Number.isSafeInteger) ? found : undefined
}
