/**
 * A low-rank change of a tensor in one layout as a change of the tensors of another layout. Both factors have the rank as
 * their last axis. Each axis of the tensor belongs to one factor, or to both: that of the matrices of a stack.
 */
import type { Product } from '../../../adapters/types.js'
import { permute, read, reshape } from '../../../adapters/views.js'
import { elements } from '../../../core/dtypes.js'
import { shapeOf } from '../../../views/shape.js'
import { type View, ZEROS } from '../../../views/types.js'

/** A change as two factors. */
export interface Change {
  /** [rows, rank] or [matrices, rows, rank]. */
  readonly left: View
  /** [columns, rank] or [matrices, columns, rank]. */
  readonly right: View
}

const last = <T>(list: readonly T[]): T => list[list.length - 1]!

/** The factors of a product that changes a tensor of this shape. */
export function changeOf({ left, right, rank, matrices }: Product, shape: readonly number[]): Change | undefined {
  if (!left || left.times || left.core || right.times || right.core) return undefined
  const stack = matrices === undefined ? [] : [matrices]
  const side = ({ read: { view }, byRank }: NonNullable<Product['left']>, count: number): View => {
    const flat = reshape(view, byRank ? [...stack, rank, count] : [...stack, count, rank])
    if (!byRank) return flat
    return permute(flat, stack.length > 0 ? [0, 2, 1] : [1, 0])
  }
  const rows = shape[stack.length]!
  // The left factor of a stack has the rows of all matrices.
  if (matrices !== undefined && left.byRank) return undefined
  return { left: side(left, rows), right: side(right, elements(shape.slice(stack.length + 1))) }
}

/** The product of these factors. */
export function productOf({ left, right }: Change): Product {
  const [shape, rank] = [shapeOf(left), last(shapeOf(left))]
  const stacked = shape.length === 3
  return {
    kind: 'product',
    rank,
    ...(stacked ? { matrices: shape[0]! } : {}),
    left: { read: read(stacked ? reshape(left, [shape[0]! * shape[1]!, rank]) : left), byRank: false },
    right: { read: read(right), byRank: false },
  }
}

/** An axis of a tensor: of the matrices of a stack, of the rows, or of the columns. */
interface Axis {
  readonly side: 'matrix' | 'left' | 'right'
  readonly size: number
}

interface State extends Change {
  readonly axes: readonly Axis[]
}

/** The change of a tensor that is made of a changed one. Undefined if it has no two factors. */
export function through(view: View, change: Change, name: string): Change | undefined {
  const state = walk(view, change, name)
  if (!state) return undefined
  const sides = state.axes.map(({ side }) => side)
  const order = (first: Axis['side'], second: Axis['side']): boolean => {
    const places = sides.map((side) => ['matrix', first, second].indexOf(side))
    return places.every((place, at) => at === 0 || place >= places[at - 1]!)
  }
  const flat = (of: View, own: 'left' | 'right'): View => {
    const size = (side: Axis['side']) =>
      state.axes.reduce((product, axis) => (axis.side === side ? product * axis.size : product), 1)
    const stack = sides.includes('matrix') ? [size('matrix')] : []
    return reshape(of, [...stack, size(own), last(shapeOf(of))])
  }
  const [left, right] = [flat(state.left, 'left'), flat(state.right, 'right')]
  if (order('left', 'right')) return { left, right }
  return order('right', 'left') ? { left: right, right: left } : undefined
}

function walk(view: View, change: Change, name: string): State | undefined {
  switch (view.kind) {
    case 'stored': {
      if (view.tensor !== name) return undefined
      const stacked = shapeOf(change.left).length === 3
      const [first, ...rest] = view.shape
      const [rows, ...columns] = stacked ? rest : [first!, ...rest]
      const axes: Axis[] = [
        ...(stacked ? [{ side: 'matrix' as const, size: first! }] : []),
        { side: 'left', size: rows! },
        ...columns.map((size): Axis => ({ side: 'right', size })),
      ]
      return spread({ ...change, axes })
    }
    case 'slice': {
      const state = walk(view.of, change, name)
      return state && sliced(state, view.axis, view.start, view.count)
    }
    case 'permute': {
      const state = walk(view.of, change, name)
      return state && permuted(state, view.axes)
    }
    case 'reshape': {
      const state = walk(view.of, change, name)
      return state && reshaped(state, view.shape)
    }
    case 'concat':
      return rearranged(view.parts, view.axis, change, name)
    default:
      return undefined
  }
}

/** Slices of one tensor in another order. Undefined if they differ in more than one axis, or come from several tensors. */
function rearranged(parts: readonly View[], axis: number, change: Change, name: string): State | undefined {
  const states = parts.map((part) => walk(part, change, name))
  const [first] = states
  const side = first?.axes[axis]?.side
  if (!first || side === undefined || side === 'matrix' || states.includes(undefined)) return undefined
  const all = states as readonly State[]
  const other = side === 'left' ? 'right' : 'left'
  const kept = JSON.stringify([first[other], first.axes.toSpliced(axis, 1)])
  const alike = all.every((state) => JSON.stringify([state[other], state.axes.toSpliced(axis, 1)]) === kept)
  if (!alike || all.some((state) => state.axes[axis]!.side !== side)) return undefined
  const place = placeIn(first.axes, axis, side)
  const size = all.reduce((sum, state) => sum + state.axes[axis]!.size, 0)
  const joined = concat(
    all.map((state) => state[side]),
    place,
  )
  return { ...first, [side]: joined, axes: first.axes.with(axis, { side, size }) }
}

const sizesOf = (axes: readonly Axis[], side: 'left' | 'right'): number[] =>
  axes.filter((axis) => axis.side === side || axis.side === 'matrix').map(({ size }) => size)

/** The factors with one axis for each axis of the tensor. */
const spread = ({ left, right, axes }: State): State => ({
  left: reshape(left, [...sizesOf(axes, 'left'), last(shapeOf(left))]),
  right: reshape(right, [...sizesOf(axes, 'right'), last(shapeOf(right))]),
  axes,
})

/** The place of an axis among those of a factor; -1 if it is not one of them. */
const placeIn = (axes: readonly Axis[], axis: number, side: 'left' | 'right'): number =>
  axes[axis]!.side === side || axes[axis]!.side === 'matrix'
    ? axes.slice(0, axis).filter((other) => other.side === side || other.side === 'matrix').length
    : -1

function sliced(state: State, axis: number, start: number, count: number): State {
  const cut = (of: View, side: 'left' | 'right'): View => {
    const place = placeIn(state.axes, axis, side)
    return place < 0 ? of : { kind: 'slice', of, axis: place, start, count }
  }
  const isOne = state.axes[axis]!.side === 'matrix' && count === 1
  const axes = state.axes.map((own, at): Axis => (at === axis ? { side: isOne ? 'left' : own.side, size: count } : own))
  // A single matrix is an axis of the rows with one place.
  return spread({ left: cut(state.left, 'left'), right: cut(state.right, 'right'), axes })
}

function permuted(state: State, order: readonly number[]): State {
  const moved = (of: View, side: 'left' | 'right'): View => {
    const places = order.map((axis) => placeIn(state.axes, axis, side)).filter((place) => place >= 0)
    return permute(of, [...places, places.length])
  }
  return {
    left: moved(state.left, 'left'),
    right: moved(state.right, 'right'),
    axes: order.map((axis) => state.axes[axis]!),
  }
}

/** Undefined if axes of both factors would become one. */
function reshaped(state: State, shape: readonly number[]): State | undefined {
  const axes: Axis[] = []
  let [from, to] = [0, 0]
  while (from < state.axes.length || to < shape.length) {
    const old = state.axes.slice(from, from + 1)
    const fresh = shape.slice(to, to + 1)
    const size = (list: readonly (Axis | number)[]): number =>
      list.reduce<number>((product, one) => product * (typeof one === 'number' ? one : one.size), 1)
    // A single place more or less belongs to no factor.
    if (fresh.length === 0 || (old[0]?.size === 1 && fresh[0] !== 1)) {
      if (old[0]!.size !== 1 || old[0]!.side === 'matrix') return undefined
      from++
      continue
    }
    if (old.length === 0 || (fresh[0] === 1 && old[0]!.size !== 1)) {
      if (fresh[0] !== 1) return undefined
      axes.push({ side: axes.at(-1)?.side === 'right' ? 'right' : 'left', size: 1 })
      to++
      continue
    }
    while (size(old) !== size(fresh)) {
      if (size(old) < size(fresh)) old.push(state.axes[from + old.length]!)
      else fresh.push(shape[to + fresh.length]!)
      if (old.includes(undefined as never) || fresh.includes(undefined as never)) return undefined
    }
    const sides = new Set(old.filter((axis) => axis.size > 1).map(({ side }) => side))
    const [side = old[0]!.side, other] = sides
    if (other !== undefined || (side === 'matrix' && (old.length > 1 || fresh.length > 1))) return undefined
    axes.push(...fresh.map((one): Axis => ({ side, size: one })))
    from += old.length
    to += fresh.length
  }
  return spread({ ...state, axes })
}

/** A factor with zeros before and after the places of an axis. */
function padded(of: View, axis: number, before: number, after: number): View {
  if (before === 0 && after === 0) return of
  const axes = [...shapeOf(of).keys()]
  const order = [axis, ...axes.filter((own) => own !== axis)]
  const front = permute(of, order)
  const count = shapeOf(front)[0]!
  const runs = [before, ZEROS, 0, count, 0, 0, after, ZEROS, 0]
  const some = [0, 3, 6].flatMap((at) => (runs[at]! > 0 ? runs.slice(at, at + 3) : []))
  const rows: View = { kind: 'gather', of: [front], map: { rows: before + count + after, runs: some, means: [] } }
  return permute(
    rows,
    axes.map((own) => order.indexOf(own)),
  )
}

const concat = (parts: readonly View[], axis: number): View =>
  parts.length === 1 ? parts[0]! : { kind: 'concat', axis, parts }

/**
 * The change of a tensor that is made of several tensors, some of which change. Undefined if it has no two factors.
 * `changes`: by name.
 */
export function together(view: View, changes: ReadonlyMap<string, Change>): Change | undefined {
  const made = gather(view, changes)
  return made === 'none' ? undefined : made
}

type Gathered = Change | 'none' | undefined

function gather(view: View, changes: ReadonlyMap<string, Change>): Gathered {
  switch (view.kind) {
    case 'stored':
      return changes.get(view.tensor) ?? 'none'
    case 'permute': {
      const made = gather(view.of, changes)
      if (made === undefined || made === 'none') return made
      const rank = shapeOf(view).length
      const swaps = view.axes.slice(-2).join() === `${rank - 1},${rank - 2}`
      const stays = view.axes.slice(0, -2).every((axis, at) => axis === at)
      return swaps && stays ? { left: made.right, right: made.left } : undefined
    }
    case 'reshape': {
      const made = gather(view.of, changes)
      if (made === undefined || made === 'none') return made
      // A matrix as a stack of one.
      const isOne = view.shape.length === 3 && view.shape[0] === 1 && shapeOf(view.of).length === 2
      if (!isOne) return undefined
      return {
        left: reshape(made.left, [1, ...shapeOf(made.left)]),
        right: reshape(made.right, [1, ...shapeOf(made.right)]),
      }
    }
    case 'concat':
      return joined(view.parts, view.axis, changes)
    default:
      return undefined
  }
}

function joined(parts: readonly View[], axis: number, changes: ReadonlyMap<string, Change>): Gathered {
  const made = parts.map((part) => gather(part, changes))
  if (made.includes(undefined)) return undefined
  const some = made.filter((one): one is Change => one !== 'none' && one !== undefined)
  if (some.length === 0) return 'none'
  const dimensions = shapeOf(parts[0]!).length
  if (dimensions === 3 && axis === 0) return stacked(parts, made as readonly (Change | 'none')[], some)
  const along = axis === dimensions - 2 ? 'left' : axis === dimensions - 1 ? 'right' : undefined
  if (!along) return undefined
  const total = some.reduce((sum, { left }) => sum + last(shapeOf(left)), 0)
  const across = along === 'left' ? 'right' : 'left'
  const ends = dimensions - 1
  let before = 0
  const pieces = made.map((one, at): View => {
    const size = shapeOf(parts[at]!)[axis]!
    if (one === 'none' || one === undefined) return zeros(some[0]![along], dimensions - 2, size, total)
    const own = last(shapeOf(one[along]))
    const piece = padded(one[along], ends, before, total - before - own)
    before += own
    return piece
  })
  const sides = {
    [along]: concat(pieces, dimensions - 2),
    [across]: concat(
      some.map((one) => one[across]),
      ends,
    ),
  }
  return { left: sides.left!, right: sides.right! }
}

/** Zeros in the form of a factor, with another size along an axis and another rank. */
function zeros(like: View, axis: number, size: number, rank: number): View {
  const shape = shapeOf(like)
  const one: View = reshape(
    { kind: 'slice', of: reshape(like, [elements(shape)]), axis: 0, start: 0, count: 1 },
    [1, 1],
  )
  const wanted = shape.with(axis, size).with(-1, rank)
  const row: View = { kind: 'repeat', of: one, axis: 1, count: rank }
  const rows = elements(wanted) / rank
  return reshape({ kind: 'gather', of: [row], map: { rows, runs: [rows, ZEROS, 0], means: [] } }, wanted)
}

/** Matrices as a stack, all of the largest rank. */
function stacked(parts: readonly View[], made: readonly (Change | 'none')[], some: readonly Change[]): Change {
  const rank = some.reduce((most, { left }) => Math.max(most, last(shapeOf(left))), 0)
  const side = (name: 'left' | 'right'): View =>
    concat(
      made.map((one, at) => {
        const count = shapeOf(parts[at]!)[0]!
        if (one !== 'none') return padded(one[name], 2, 0, rank - last(shapeOf(one[name])))
        return zeros(some[0]![name], 0, count, rank)
      }),
      0,
    )
  return { left: side('left'), right: side('right') }
}
