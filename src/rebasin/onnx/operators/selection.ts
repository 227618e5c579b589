/** Operators that select, join and repeat places, and move axes. */
import { type Axis, concatAxes, type Inner, isOne, type Outer, ofIds, plain, sliceAxis } from '../../axes/axis.js'
import { join } from '../../axes/join.js'
import type { OnnxNode } from '../graph/model.js'
import { fromFront, integer, label, type Operator, stay, unknown, type Value, type Walk } from '../value.js'
import { lengthOf } from './reshape.js'
import { LONGEST_SHAPE } from './shapes.js'

const concat: Operator = (walk, node) => {
  const values = node.inputs.map((name) => walk.value(name))
  const rank = values[0]?.length
  if (rank === undefined || values.some((value) => value?.length !== rank))
    return unknown(walk, node, 'joins values of unknown shapes')
  const known = values as readonly (readonly Axis[])[]
  const at = fromFront(integer(node, 'axis', 0), rank)
  if (at < 0 || at >= rank) return unknown(walk, node, 'has an unsupported form')
  const out = known[0]!.map((first, i) => {
    const axes = known.map((value) => value[i]!)
    if (i === at) return joined(walk, node, known, axes)
    return axes
      .slice(1)
      .reduce((axis, other) => (isOne(axis) && isOne(other) ? axis : join(walk, axis, other, label(node))), first)
  })
  walk.give(node.outputs[0], out, joinedSizes(walk, node, known))
}

/** The axis along which values are joined. */
function joined(walk: Walk, node: OnnxNode, values: readonly (readonly Axis[])[], axes: readonly Axis[]): Axis {
  const cut = axes.filter(({ inner, flattened }) => inner || flattened)
  for (const [k, { outer }] of axes.entries())
    if (outer)
      stay(
        walk,
        values[k]!.filter(({ inner }) => inner),
        `${label(node)} joins along its parts`,
      )
  const whole = cut.length === 0 ? concatAxes(axes) : undefined
  if (whole) return whole
  stay(walk, axes, `${label(node)} joins along it`)
  const total = axes.reduce<number>((sum, { length }) => sum + (length ?? Number.NaN), 0)
  return Number.isSafeInteger(total) ? plain(total) : {}
}

/** A shape that is put together. Places with unknown numbers are still places. */
function joinedSizes(walk: Walk, { inputs }: OnnxNode, values: readonly (readonly Axis[])[]) {
  if (values[0]!.length !== 1) return undefined
  const sizes = inputs.map((name) => walk.sizes(name))
  const counts = sizes.map((size, i) => size?.length ?? values[i]![0]?.length)
  const total = counts.reduce<number>((sum, n) => sum + (n ?? Number.POSITIVE_INFINITY), 0)
  if (total > LONGEST_SHAPE) return undefined
  return sizes.flatMap((size, i) => size ?? Array<undefined>(counts[i]!).fill(undefined))
}

/**
 * Some places of one axis, as a list or as a range. `places` has one number per place of the result. If an outer axis
 * is selected from, inner axes keep the blocks that belong to these places.
 */
function selected(
  walk: Walk,
  node: OnnxNode,
  x: readonly Axis[],
  at: number,
  places: readonly number[],
  axis: Axis | undefined,
) {
  const { outer } = x[at]!
  const made: Outer | undefined = outer && axis ? { mark: () => outer.mark() } : undefined
  return x.flatMap((each, i) => {
    if (i === at) return axis ? [made ? { ...axis, outer: made } : axis] : []
    if (!outer || !each.inner) return [each]
    const inner = blocksAt(each.inner, outer, places, made)
    if (inner) return [inner.outers.length === 0 ? wholeBlock(inner) : { ...each, inner }]
    stay(walk, [each], `${label(node)} takes a part of it`)
    return [plain(each.length)]
  })
}

const wholeBlock = ({ blocks: [ids], each }: Inner): Axis => ofIds(ids!, each)

/** The blocks at some places of an outer axis, which is then `made`, or gone. */
function blocksAt(inner: Inner, outer: Outer, places: readonly number[], made: Outer | undefined): Inner | undefined {
  const k = inner.outers.indexOf(outer)
  if (k < 0) return inner
  const behind = inner.dims.slice(k + 1).reduce((product, n) => product * n, 1)
  const size = inner.dims[k]!
  const blocks: Int32Array[] = []
  for (let first = 0; first < inner.blocks.length; first += size * behind)
    for (const place of places)
      for (let after = 0; after < behind; after++) {
        const block = inner.blocks[first + place * behind + after]
        if (!block || place >= size) return undefined
        blocks.push(block)
      }
  const put = <T>(list: readonly T[], value: T | undefined) => [
    ...list.slice(0, k),
    ...(value === undefined ? [] : [value]),
    ...list.slice(k + 1),
  ]
  return { ...inner, dims: put(inner.dims, made && places.length), outers: put(inner.outers, made), blocks }
}

/** Rows of a table, such as an embedding, or single places with known numbers. */
const gather: Operator = (walk, node) => {
  const [x, index] = [walk.value(node.inputs[0]), walk.value(node.inputs[1])]
  if (!x || !index || x.length === 0) return unknown(walk, node, 'has an unsupported form')
  const at = fromFront(integer(node, 'axis', 0), x.length)
  stay(walk, index, `${label(node)} takes it as indices`)
  const sizes = walk.sizes(node.inputs[0])
  const numbers = walk.numbers(node.inputs[1])
  const shape = sizes && numbers && at === 0 ? numbers.map((place) => sizes.at(place)) : undefined
  const { length } = x[at] ?? {}
  const places = length === undefined ? undefined : numbers?.map((place) => fromFront(place, length))
  const isList = index.filter((axis) => axis.length !== 1).length < 2
  if (places && isList && places.every((place) => place >= 0 && place < length!)) {
    const one = index.length === 0
    const parts = places.map((place) => sliceAxis(x[at]!, place, 1))
    if (one || x[at]!.inner) stay(walk, x[at]!.inner ? [x[at]!] : parts, `${label(node)} selects a place`)
    const axis = one ? undefined : x[at]!.inner ? plain(places.length) : concatAxes(parts)
    const out = selected(walk, node, x, at, places, axis)
    // The list may have more axes of one place.
    const long = index.findIndex((each) => each.length !== 1)
    const around = index.length < 2 ? undefined : index.map((_, i) => (i === Math.max(long, 0) ? out[at]! : plain(1)))
    return walk.give(node.outputs[0], around ? [...out.slice(0, at), ...around, ...out.slice(at + 1)] : out, shape)
  }
  stay(walk, x.slice(at, at + 1), `${label(node)}: indices name its places`)
  outersStay(walk, node, x, [at])
  walk.give(node.outputs[0], [...x.slice(0, at), ...index, ...x.slice(at + 1)], shape)
}

/** Inner axes of outer axes that an operator changes. */
function outersStay(walk: Walk, node: OnnxNode, x: readonly Axis[], changed: readonly number[]): void {
  const outers = new Set(changed.map((i) => x[i]?.outer))
  const inner = x.filter((axis) => axis.inner?.outers.some((outer) => outers.has(outer)))
  stay(walk, inner, `${label(node)} takes a part of it`)
}

const transpose: Operator = (walk, node) => {
  const x = walk.value(node.inputs[0])
  const order = node.integers.get('perm') ?? x?.map((_, i) => x.length - 1 - i)
  // All axes of a value of unknown shape keep their order.
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

const axesOf = (walk: Walk, node: OnnxNode): readonly number[] | undefined =>
  node.integers.get('axes') ?? (node.inputs[1] ? walk.numbers(node.inputs[1]) : undefined)

const unsqueeze: Operator = (walk, node) => {
  const [x, axes] = [walk.value(node.inputs[0]), axesOf(walk, node)]
  if (!x || !axes || axes.length > LONGEST_SHAPE) return unknown(walk, node, 'has unknown axes')
  const rank = x.length + axes.length
  const ones = axes.map((axis) => fromFront(axis, rank))
  let next = 0
  const out = Array.from({ length: rank }, (_, i) => (ones.includes(i) ? plain(1) : (x[next++] ?? {})))
  walk.give(node.outputs[0], out, x.length === 0 ? walk.sizes(node.inputs[0]) : undefined)
}

const squeeze: Operator = (walk, node) => {
  const x = walk.value(node.inputs[0])
  const given = axesOf(walk, node)
  const axes = given ?? (node.inputs[1] ? undefined : x?.flatMap(({ length }, i) => (length === 1 ? [i] : [])))
  if (!x || !axes) return unknown(walk, node, 'has unknown axes')
  const gone = axes.map((axis) => fromFront(axis, x.length))
  const removed = x.filter((_, i) => gone.includes(i))
  stay(walk, removed, `${label(node)} removes it`)
  outersStay(walk, node, x, gone)
  walk.give(
    node.outputs[0],
    x.filter((_, i) => !gone.includes(i)),
    x.length === 1 ? walk.sizes(node.inputs[0]) : undefined,
  )
}

/** A range of places along some axes. */
const slice: Operator = (walk, node) => {
  const x = walk.value(node.inputs[0])
  const list = (name: string, index: number) =>
    node.integers.get(name) ?? (node.inputs[index] ? walk.numbers(node.inputs[index]) : undefined)
  const [starts, ends, steps] = [list('starts', 1), list('ends', 2), list('steps', 4)]
  const given = list('axes', 3) ?? (node.inputs[3] ? undefined : starts?.map((_, i) => i))
  if (!x || !given) return unknown(walk, node, 'has unknown axes')
  const cut = given.map((axis) => fromFront(axis, x.length))
  let value: readonly Axis[] = x
  for (const [k, at] of cut.entries()) {
    const axis = value[at]
    const range = axis && rangeOf(axis.length, starts?.[k], ends?.[k], steps?.[k] ?? (node.inputs[4] ? undefined : 1))
    if (!axis) return unknown(walk, node, 'has unknown axes')
    if (range?.count === axis.length && range !== undefined) continue
    if (range && !axis.inner && !axis.flattened) value = ranged(walk, node, value, at, range)
    else {
      stay(walk, [axis], `${label(node)} takes a part of it`)
      outersStay(walk, node, value, [at])
      value = value.map((each, i) => (i === at ? plain(range?.count) : each))
    }
  }
  const sizes = walk.sizes(node.inputs[0])
  const range = rangeOf(sizes?.length, starts?.[0], ends?.[0], 1)
  walk.give(
    node.outputs[0],
    value,
    x.length === 1 && range ? sizes?.slice(range.start, range.start + range.count) : undefined,
  )
}

interface Range {
  readonly start: number
  readonly count: number
}

const ranged = (
  walk: Walk,
  node: OnnxNode,
  x: readonly Axis[],
  at: number,
  { start, count }: Range,
): readonly Axis[] => {
  const places = x[at]!.outer ? Array.from({ length: count }, (_, k) => start + k) : []
  return selected(walk, node, x, at, places, sliceAxis(x[at]!, start, count))
}

function rangeOf(length?: number, start?: number, end?: number, step?: number): Range | undefined {
  if (length === undefined || start === undefined || end === undefined || step !== 1) return undefined
  const [from, to] = [start, end].map((place) => Math.min(Math.max(place < 0 ? place + length : place, 0), length))
  return { start: from!, count: Math.max(0, to! - from!) }
}

const split: Operator = (walk, node) => {
  const x = walk.value(node.inputs[0])
  if (!x) return unknown(walk, node, 'has an unsupported form')
  const at = fromFront(integer(node, 'axis', 0), x.length)
  const axis = x[at]
  if (!axis) return unknown(walk, node, 'has an unsupported form')
  const given = node.integers.get('split') ?? (node.inputs[1] ? walk.numbers(node.inputs[1]) : undefined)
  const even = Math.ceil((axis.length ?? Number.NaN) / node.outputs.length)
  const sizes =
    given ??
    (node.inputs[1] || Number.isNaN(even)
      ? undefined
      : node.outputs.map((_, k) => Math.max(0, Math.min(even, axis.length! - k * even))))
  const isKnown = sizes?.length === node.outputs.length && sizes.reduce((sum, n) => sum + n, 0) === axis.length
  if (!isKnown || axis.inner || axis.flattened) {
    stay(walk, [axis], `${label(node)} cuts it into parts`)
    outersStay(walk, node, x, [at])
    for (const [k, name] of node.outputs.entries())
      walk.give(
        name,
        x.map((each, i) => (i === at ? plain(sizes?.[k]) : each)),
      )
    return
  }
  let start = 0
  for (const [k, name] of node.outputs.entries()) {
    walk.give(name, ranged(walk, node, x, at, { start, count: sizes[k]! }))
    start += sizes[k]!
  }
}

/** Repeats axes with one place. The others stay as they are. */
const expand: Operator = (walk, node) => {
  const [x, target] = [walk.value(node.inputs[0]), walk.sizes(node.inputs[1])]
  const wanted = target?.length ?? walk.value(node.inputs[1])?.[0]?.length
  if (!x || wanted === undefined || wanted > LONGEST_SHAPE) return unknown(walk, node, 'reshapes to an unknown shape')
  const rank = Math.max(x.length, wanted)
  const out = Array.from({ length: rank }, (_, i): Axis => {
    const axis = x[x.length - rank + i]
    if (axis !== undefined && !isOne(axis)) return axis
    return { ...(lengthOf(target?.[wanted - rank + i]) ?? {}), uniform: true }
  })
  walk.give(node.outputs[0], out)
}

/** Adds places around an axis, or takes some away. */
const pad: Operator = (walk, node) => {
  const x = walk.value(node.inputs[0])
  const pads = node.integers.get('pads') ?? walk.numbers(node.inputs[1])
  if (!x || pads?.length !== 2 * x.length || node.inputs[3]) return unknown(walk, node, 'has an unsupported form')
  const around = x.map((_, i) => pads[i]! + pads[i + x.length]!)
  const changed = x.flatMap((_, i) => (pads[i] !== 0 || pads[i + x.length] !== 0 ? [i] : []))
  stay(
    walk,
    changed.map((i) => x[i]!),
    `${label(node)} adds places to it`,
  )
  outersStay(walk, node, x, changed)
  const out: Value = x.map((axis, i) =>
    changed.includes(i) ? plain(axis.length === undefined ? undefined : axis.length + around[i]!) : axis,
  )
  walk.give(node.outputs[0], out)
}

export const SELECTION: readonly [string, Operator][] = [
  ['Concat', concat],
  ['Gather', gather],
  ['Transpose', transpose],
  ['Unsqueeze', unsqueeze],
  ['Squeeze', squeeze],
  ['Slice', slice],
  ['Split', split],
  ['Expand', expand],
  ['Pad', pad],
]
