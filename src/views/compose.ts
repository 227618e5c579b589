/** Simplifies views. Each function takes simplified views and returns a simplified view. */
import { elements, sameShape } from '../core/dtypes.js'
import { bytesOf } from '../encodings/index.js'
import { extentOf, isRun, type Places, permuted, placesOf, reshaped, rowMajor, sliced } from './places.js'
import { shapeOf } from './shape.js'
import { isDecoded } from './stored.js'
import { isFound, MEAN_BEFORE, type RowMap, type StoredView, type View } from './types.js'

/** Elements that are not whole bytes have no byte offset. */
const isWholeBytes = ({ dtype }: StoredView): boolean => Number.isInteger(bytesOf(dtype))

function sliceOf(of: View, axis: number, start: number, count: number): View {
  const shape = shapeOf(of)
  if (start === 0 && count === shape[axis]) return of
  switch (of.kind) {
    case 'stored':
      return (isWholeBytes(of) ? placed(of, sliced(placesIn(of), axis, start, count)) : undefined) ?? plainSlice()
    case 'slice':
      return of.axis === axis ? sliceOf(of.of, axis, of.start + start, count) : plainSlice()
    case 'permute':
      // Numbers that are computed from codes are transposed as a whole.
      return isDecoded(of) ? plainSlice() : permuteOf(sliceOf(of.of, of.axes[axis]!, start, count), of.axes)
    case 'repeat':
      return of.axis === axis
        ? repeatOf(of.of, axis, count)
        : repeatOf(sliceOf(of.of, axis, start, count), of.axis, of.count)
    case 'concat':
      if (of.axis !== axis)
        return concatOf(
          of.axis,
          of.parts.map((part) => sliceOf(part, axis, start, count)),
        )
      return concatOf(axis, sliceOfParts(of.parts, axis, start, count))
    case 'reshape':
    case 'decode':
      return plainSlice()
    case 'gather': {
      if (isFound(of)) return plainSlice()
      if (axis > 0) return { ...of, of: of.of.map((source) => sliceOf(source, axis, start, count)) }
      const map = cutRows(of.map, start, count)
      return map ? rowsOf(of.of, map) : plainSlice()
    }
  }

  function plainSlice(): View {
    return { kind: 'slice', of, axis, start, count }
  }
}

/** The parts, or slices of parts, in a slice along the axis of a concatenation. */
function sliceOfParts(parts: readonly View[], axis: number, start: number, count: number): View[] {
  const found: View[] = []
  let first = 0
  for (const part of parts) {
    const size = shapeOf(part)[axis]!
    const [from, to] = [Math.max(start, first), Math.min(start + count, first + size)]
    if (from < to) found.push(sliceOf(part, axis, from - first, to - from))
    first += size
  }
  // An empty slice still has a shape.
  return found.length > 0 ? found : [sliceOf(parts[0]!, axis, 0, 0)]
}

function permuteOf(of: View, axes: readonly number[]): View {
  if (axes.every((axis, at) => axis === at)) return of
  switch (of.kind) {
    case 'stored':
      return isWholeBytes(of) ? placed(of, permuted(placesIn(of), axes)) : { kind: 'permute', of, axes }
    case 'permute':
      return permuteOf(
        of.of,
        axes.map((axis) => of.axes[axis]!),
      )
    case 'concat':
      return concatOf(
        axes.indexOf(of.axis),
        of.parts.map((part) => permuteOf(part, axes)),
      )
    default:
      return { kind: 'permute', of, axes }
  }
}

function reshapeOf(of: View, shape: readonly number[]): View {
  if (sameShape(shapeOf(of), shape)) return of
  if (of.kind === 'reshape') return reshapeOf(of.of, shape)
  if (of.kind === 'stored') {
    if (!of.strides) return { ...of, shape }
    const places = reshaped(placesIn(of), shape)
    if (places) return placed(of, places)
  }
  return { kind: 'reshape', of, shape }
}

const repeatOf = (of: View, axis: number, count: number): View =>
  count === 1 ? of : { kind: 'repeat', of, axis, count }

function concatOf(axis: number, parts: readonly View[]): View {
  const all = parts.flatMap((part) => (part.kind === 'concat' && part.axis === axis ? part.parts : [part]))
  const some = all.filter((part) => shapeOf(part)[axis]! > 0)
  const joined: View[] = []
  for (const part of some.length === 0 ? all.slice(0, 1) : some) {
    const last = joined.at(-1)
    const both = last && adjacent(last, part, axis)
    if (both) joined[joined.length - 1] = both
    else joined.push(part)
  }
  return joined.length === 1 ? joined[0]! : { kind: 'concat', axis, parts: joined }
}

/** Two stored parts as one, if the second continues where the first ends. */
function adjacent(a: View, b: View, axis: number): View | undefined {
  if (a.kind !== 'stored' || b.kind !== 'stored') return undefined
  if (a.file !== b.file || a.tensor !== b.tensor || a.dtype !== b.dtype || !isWholeBytes(a)) return undefined
  const [first, second] = [placesIn(a), placesIn(b)]
  const size = bytesOf(a.dtype)
  const stride = strideAlong(first, second, axis)
  if (stride === undefined || b.offset - a.offset !== stride * a.shape[axis]! * size) return undefined
  const shape = a.shape.with(axis, a.shape[axis]! + b.shape[axis]!)
  return placed(a, { ...first, shape, strides: first.strides.with(axis, stride) })
}

/** The common stride of two parts along an axis, if all other strides are equal. */
function strideAlong(a: Places, b: Places, axis: number): number | undefined {
  const same = (at: number): boolean => a.shape[at] === 1 || a.strides[at] === b.strides[at]
  if (!a.shape.every((_, at) => at === axis || same(at))) return undefined
  const [own, other] = [a, b].map(({ shape, strides }) => (shape[axis] === 1 ? undefined : strides[axis]))
  if (own !== undefined && other !== undefined) return own === other ? own : undefined
  return own ?? other ?? rowMajor(a.shape)[axis]
}

/** Rows of other views, selected by a map. */
function rowsOf(of: readonly View[], map: RowMap): View {
  const [count, source, first] = map.runs
  if (map.runs.length === 3 && source! >= 0) return sliceOf(of[source!]!, 0, first!, count!)
  return { kind: 'gather', of, map }
}

/** A range of a row map. Undefined if a mean depends on rows outside the range. */
function cutRows({ runs, means }: RowMap, start: number, count: number): RowMap | undefined {
  const kept: number[] = []
  let first = 0
  for (let at = 0; at < runs.length; at += 3) {
    const [length, source, row] = [runs[at]!, runs[at + 1]!, runs[at + 2]!]
    if (source === MEAN_BEFORE) return undefined
    const [from, to] = [Math.max(start, first), Math.min(start + count, first + length)]
    if (from < to) kept.push(to - from, source, row + from - first)
    first += length
  }
  return { rows: count, runs: kept, means }
}

const placesIn = ({ shape, strides }: StoredView): Places => placesOf(shape, strides)

/** The view of a stored tensor's elements at these places, which have no maps. */
function placed(of: StoredView, places: Places): StoredView {
  const { start, shape, strides } = places
  const size = bytesOf(of.dtype)
  const { strides: _, ...rest } = of
  const view = { ...rest, shape, offset: of.offset + start * size }
  if (isRun(places)) return { ...view, bytes: elements(shape) * size }
  return { ...view, bytes: extentOf(places) * size, strides }
}

/**
 * An equal view with fewer parts. A view of mixed dtypes may become one of a single dtype if the others are never read.
 */
export function simplify(view: View): View {
  switch (view.kind) {
    case 'stored':
      return view.strides && isRun(placesIn(view)) ? placed(view, placesIn(view)) : view
    case 'slice':
      return sliceOf(simplify(view.of), view.axis, view.start, view.count)
    case 'permute':
      return permuteOf(simplify(view.of), view.axes)
    case 'reshape':
      return reshapeOf(simplify(view.of), view.shape)
    case 'repeat':
      return repeatOf(simplify(view.of), view.axis, view.count)
    case 'concat':
      return concatOf(view.axis, view.parts.map(simplify))
    case 'gather':
      return isFound(view) ? { ...view, of: [simplify(view.of[0])] } : rowsOf(view.of.map(simplify), view.map)
    case 'decode':
      return { ...view, of: view.of.map(simplify) }
  }
}
