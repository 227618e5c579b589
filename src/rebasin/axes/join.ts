/** Axes that must move together. */
import { type Axis, type Inner, idsOf, isOne, isPlain, ofRuns, type Run, type Value } from './axis.js'
import { stay, type Tied } from './ties.js'

/**
 * Ties two axes that an operator combines place by place, and returns the axis of both. If one of them keeps its order,
 * so does the other.
 */
export function join(network: Tied, x: Axis, y: Axis, where: string): Axis {
  if (x === y) return x
  if (y.uniform) return x
  if (x.uniform) return y
  x.outer?.mark()
  y.outer?.mark()
  if (isPlain(x) && isPlain(y)) {
    return x.outer ? x : y.outer ? y : x.length === undefined ? y : x
  }
  if (x.inner || y.inner) return joinInner(network, x, y, where)
  const [left, right] = [sized(x, y), sized(y, x)]
  if (left.length === undefined || right.length === undefined || left.length !== right.length) {
    stay(network, [x, y], `${where}: ${left.length} and ${right.length} places meet`)
    return { ...(x.length === undefined ? {} : { length: x.length }) }
  }
  network.ties.tie(left.runs ?? order(left.length), right.runs ?? order(right.length), where)
  return left.runs ? left : right
}

const order = (length: number): readonly Run[] => [{ each: 1, length }]

/** A flattened axis of unknown length, as long as the one that it meets. */
function sized(axis: Axis, other: Axis): Axis {
  const { flattened, runs } = axis
  if (!flattened || runs || other.length === undefined) return axis
  const each = other.length / flattened.length
  return Number.isInteger(each) && each > 0 ? ofRuns([{ ids: flattened, each, length: other.length }]) : axis
}

/** One axis was cut into outer axes and this one: each block of it meets the other axis, or the other's block. */
function joinInner({ ties }: Tied, x: Axis, y: Axis, where: string): Axis {
  const [a, b] = [x.inner, y.inner]
  const run = (ids: Int32Array, { each }: Inner): Run[] => [{ ids, each, length: ids.length * each }]
  if (a && b && a.blocks.length === b.blocks.length && x.length === y.length) {
    for (const [k, ids] of a.blocks.entries()) ties.tie(run(ids, a), run(b.blocks[k]!, b), where)
    return x
  }
  const [cut, whole] = a ? [x, y] : [y, x]
  if (!whole.inner && whole.runs && whole.length === cut.length) {
    for (const ids of cut.inner!.blocks) ties.tie(run(ids, cut.inner!), whole.runs, where)
    return cut
  }
  for (const ids of [...idsOf(x), ...idsOf(y)]) ties.fix(ids, `${where}: the other side keeps its order`)
  return { ...(cut.length === undefined ? {} : { length: cut.length }) }
}

/** Ties two axes whose places are added up together. Units of a cut axis stay in their block. */
export function contract(network: Tied, x: Axis, y: Axis, where: string): Axis {
  markInner([x, y])
  return join(network, x, y, where)
}

/** For operators that mix the places of an axis: the blocks of an inner axis are told apart. */
export function markInner(axes: readonly Axis[]): void {
  for (const { inner } of axes) for (const outer of inner?.outers ?? []) outer.mark()
}

/** Whether the outer axes of two inner axes meet each other, in the same order. */
export function isAligned([x, y]: readonly [Axis, Axis], left: readonly Axis[], right: readonly Axis[]): boolean {
  if (!x.inner || !y.inner) return true
  const places = (axis: Axis, all: readonly Axis[]) =>
    axis.inner!.outers.map((outer) => {
      const at = all.findIndex((each) => each.outer === outer)
      return at < 0 ? undefined : all.length - at
    })
  const [a, b] = [places(x, left), places(y, right)]
  return a.length === b.length && a.every((place, i) => place !== undefined && place === b[i])
}

/** The axes of values that are broadcast: from the last axis on, those that meet are tied. */
export function broadcast(network: Tied, values: readonly Value[], where: string): Value {
  if (values.some((value) => value === undefined)) {
    for (const value of values) stay(network, value, `${where}: a shape is not known`)
    return undefined
  }
  const known = values as readonly (readonly Axis[])[]
  const cut = known.flatMap((value) => {
    const axis = value.find(({ inner }) => inner)
    return axis ? [{ axis, all: value.slice(0, value.indexOf(axis)) }] : []
  })
  for (const other of cut.slice(1))
    if (!isAligned([cut[0]!.axis, other.axis], cut[0]!.all, other.all))
      stay(network, [cut[0]!.axis, other.axis], `${where}: its parts are in different orders`)
  const rank = known.reduce((most, value) => Math.max(most, value.length), 0)
  return Array.from({ length: rank }, (_, i) => {
    const meeting = known
      .map((value) => value[value.length - rank + i])
      .filter((axis): axis is Axis => axis !== undefined)
    const long = meeting.filter((axis) => !isOne(axis))
    return long.length === 0 ? meeting[0]! : long.reduce((x, y) => join(network, x, y, where))
  })
}
