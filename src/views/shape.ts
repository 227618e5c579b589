/** The shape and dtype of a view, and whether its parts fit. */
import { type Dtype, elements } from '../core/dtypes.js'
import { bytesOf, isFloat } from '../encodings/index.js'
import { decodeProblem } from './decodeForm.js'
import { isFound, MEAN_BEFORE, MEANS, type RowGather, type View, ZEROS } from './types.js'

/** The shape of a view. */
export function shapeOf(view: View): readonly number[] {
  switch (view.kind) {
    case 'stored':
    case 'reshape':
    case 'decode':
      return view.shape
    case 'slice':
      return shapeOf(view.of).map((size, axis) => (axis === view.axis ? view.count : size))
    case 'repeat':
      return shapeOf(view.of).with(view.axis, view.count)
    case 'permute': {
      const shape = shapeOf(view.of)
      return view.axes.map((axis) => shape[axis]!)
    }
    case 'concat': {
      const shapes = view.parts.map(shapeOf)
      const along = shapes.reduce((sum, shape) => sum + shape[view.axis]!, 0)
      return shapes[0]!.map((size, axis) => (axis === view.axis ? along : size))
    }
    case 'gather':
      return isFound(view) ? shapeOf(view.of[0]) : [view.map.rows, ...shapeOf(view.of[0]!).slice(1)]
  }
}

/** The dtype of a view's elements. Undefined if they are mixed or averaged: then they have the compute dtype. */
export function dtypeOf(view: View): Dtype | undefined {
  switch (view.kind) {
    case 'stored':
      return view.dtype
    case 'slice':
    case 'permute':
    case 'reshape':
    case 'repeat':
      return dtypeOf(view.of)
    case 'concat':
      return commonDtype(view.parts)
    case 'decode':
      return 'F32'
    case 'gather':
      return !isFound(view) && hasMeans(view) ? undefined : commonDtype(view.of)
  }
}

function commonDtype(views: readonly View[]): Dtype | undefined {
  const [first, ...others] = views.map(dtypeOf)
  return others.every((dtype) => dtype === first) ? first : undefined
}

const hasMeans = ({ map: { runs, means } }: RowGather): boolean =>
  means.length > 0 || runs.some((source, at) => at % 3 === 1 && source === MEAN_BEFORE)

/** Throws an internal error if parts of a view do not fit each other. Returns the view. */
export function check(view: View): View {
  const problem = problemOf(view)
  if (problem !== undefined) throw new Error(`internal: ${view.kind} view: ${problem}`)
  return view
}

function problemOf(view: View): string | undefined {
  switch (view.kind) {
    case 'stored':
      return storedProblem(view)
    case 'slice': {
      const size = shapeOf(check(view.of))[view.axis]
      if (size === undefined) return `there is no axis ${view.axis}`
      const fits = isCount(view.start) && isCount(view.count) && view.start + view.count <= size
      return fits ? undefined : `${view.count} places from ${view.start} on of ${size}`
    }
    case 'permute': {
      const rank = shapeOf(check(view.of)).length
      const all = new Set(view.axes).size === rank && view.axes.every((axis) => isCount(axis) && axis < rank)
      return all && view.axes.length === rank ? undefined : `axes ${view.axes} of ${rank}`
    }
    case 'reshape':
      return elements(shapeOf(check(view.of))) === elements(view.shape) && view.shape.every(isCount)
        ? undefined
        : `[${shapeOf(view.of)}] as [${view.shape}]`
    case 'repeat': {
      const size = shapeOf(check(view.of))[view.axis]
      return size === 1 && isCount(view.count)
        ? undefined
        : `${view.count} times ${size} places along axis ${view.axis}`
    }
    case 'concat':
      return partsProblem(view.parts, view.axis)
    case 'decode':
      return decodeProblem(view.shape, view.form, view.of.map(partOf))
    case 'gather':
      if (isFound(view)) return check(view.of[0]) && undefined
      return partsProblem(view.of, 0) ?? rowsProblem(view)
  }
}

/** What a form needs to know about a part. */
function partOf(view: View): { dtype: Dtype | undefined; shape: readonly number[]; bytes: number } {
  const [dtype, shape] = [dtypeOf(check(view)), shapeOf(view)]
  return { dtype, shape, bytes: dtype === undefined ? 0 : bytesOf(dtype, elements(shape)) }
}

const isCount = (n: number): boolean => Number.isSafeInteger(n) && n >= 0

function storedProblem({ dtype, shape, offset, bytes, strides }: View & { kind: 'stored' }): string | undefined {
  if (!shape.every(isCount) || !isCount(offset) || !isCount(bytes)) return 'invalid sizes'
  if (!strides)
    return bytesOf(dtype, elements(shape)) === bytes ? undefined : `[${shape}] of ${dtype} in ${bytes} bytes`
  if (strides.length !== shape.length || !strides.every(isCount)) return `strides ${strides} for [${shape}]`
  const span = elements(shape) === 0 ? 0 : shape.reduce((sum, size, axis) => sum + (size - 1) * strides[axis]!, 1)
  return bytesOf(dtype, span) <= bytes ? undefined : `[${shape}] with strides ${strides} in ${bytes} bytes`
}

/** Why views cannot be combined along an axis; undefined if they can. */
function partsProblem(parts: readonly View[], axis: number): string | undefined {
  const [first, ...others] = parts.map((part) => shapeOf(check(part)))
  if (!first) return 'it has no parts'
  if (first[axis] === undefined) return `there is no axis ${axis}`
  const fits = (shape: readonly number[]) =>
    shape.length === first.length && shape.every((size, at) => at === axis || size === first[at])
  const other = others.find((shape) => !fits(shape))
  if (other) return `[${first}] and [${other}] along axis ${axis}`
  const dtypes = parts.map(dtypeOf)
  const mixed = dtypes.some((dtype) => dtype !== dtypes[0])
  return mixed && dtypes.some((dtype) => dtype !== undefined && !isFloat(dtype)) ? `${dtypes} together` : undefined
}

function rowsProblem({ of, map: { rows, runs, means } }: RowGather): string | undefined {
  const sizes = of.map((source) => shapeOf(source)[0]!)
  const isRow = (source: number, row: number): boolean => isCount(row) && row < (sizes[source] ?? 0)
  if (means.some((places) => places.length === 0 || places.length % 2 !== 0)) return 'an empty average'
  for (const places of means)
    for (let at = 0; at < places.length; at += 2)
      if (!isRow(places[at]!, places[at + 1]!)) return `there is no row ${places[at + 1]} of ${places[at]}`
  let next = 0
  for (let at = 0; at < runs.length; at += 3) {
    const [count, source, row] = [runs[at]!, runs[at + 1]!, runs[at + 2]!]
    if (!isCount(count) || count === 0) return `a run of ${count} rows`
    const known =
      source === ZEROS ||
      (source === MEANS && isCount(row) && row + count <= means.length) ||
      (source === MEAN_BEFORE && isCount(row) && row <= next) ||
      (isRow(source, row) && isRow(source, row + count - 1))
    if (!known) return `a run of ${count} rows of ${source} from ${row} on`
    next += count
  }
  return next === rows ? undefined : `${next} rows for ${rows}`
}
