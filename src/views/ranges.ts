/** The stored bytes that a range of a view's elements needs. */
import { elements } from '../core/dtypes.js'
import { bytesOf } from '../encodings/index.js'
import { boxesOf } from './boxes.js'
import { matrixOf } from './decodeForm.js'
import { lower } from './lower.js'
import type { AxisPlaces, DecodedReader, Reader, RowsReader, Source } from './readers.js'
import { dtypeOf, shapeOf } from './shape.js'
import { isDecoded, isPlain } from './stored.js'
import { type AxisMap, type Finding, MEAN_BEFORE, MEANS, type View, ZEROS } from './types.js'

export interface StoredRange {
  readonly file: number
  readonly offset: number
  readonly bytes: number
}

/** The maximum number of ranges. If there are more, the smallest gaps between them are read as well. */
export const MOST_RANGES = 256

/** The number of file bytes that a view reads, each counted once. Permutations do not change it. */
export function storedBytes(view: View): number {
  if (isPlain(view)) return view.bytes
  return rangesOf(view, 0, elements(shapeOf(view)), () => []).reduce((sum, { bytes }) => sum + bytes, 0)
}

/**
 * The file ranges that hold `count` elements of a view from row-major index `from`, sorted by file and offset and not
 * adjacent. Up to `MOST_RANGES` ranges they hold nothing else. `maps`: the permutations of the findings in the view.
 */
export function rangesOf(
  view: View,
  from: number,
  count: number,
  maps: (finding: Finding, shape: readonly number[]) => readonly AxisMap[],
): StoredRange[] {
  const dtype = dtypeOf(view)
  // Elements of one dtype are read as bytes, so that the dtype need not be floating-point.
  const raw = dtype !== undefined && !isDecoded(view)
  const { reader, elementBytes } = lower(view, { raw, mixed: 'F32', maps })
  const bytes = raw ? bytesOf(dtype) : 1
  return bounded(rangesIn(reader, elementBytes, from * bytes, count * bytes))
}

function rangesIn(reader: Reader, elementBytes: number, first: number, count: number): StoredRange[] {
  if (count === 0) return []
  switch (reader.kind) {
    case 'contiguous':
      return [{ file: reader.file, offset: reader.offset + first * elementBytes, bytes: count * elementBytes }]
    case 'strided':
    case 'mapped': {
      const { file, offset, shape, strides } = reader
      const maps = reader.kind === 'mapped' ? reader.maps : shape.map(() => null)
      return intervalsOf({ shape, strides, maps }, first, count).map(([from, to]) => ({
        file,
        offset: offset + from * elementBytes,
        bytes: (to - from) * elementBytes,
      }))
    }
    case 'picked':
      return intervalsOf(reader, first, count).flatMap(([from, to]) =>
        rangesIn(reader.of, elementBytes, reader.start + from, to - from),
      )
    case 'rows':
      return rowRanges(reader, first, count)
    case 'concat': {
      const total = reader.parts.reduce((sum, { block }) => sum + block, 0)
      let before = 0
      return reader.parts.flatMap(({ source, block }) => {
        const at = (index: number): number =>
          Math.floor(index / total) * block + Math.min(block, Math.max(0, (index % total) - before))
        const [from, to] = [at(first), at(first + count)]
        before += block
        return sourceRanges(source, from, to - from)
      })
    }
    case 'decoded':
      return decodedRanges(reader, first, count)
    case 'turned': {
      const { rows, columns, height } = matrixOf(reader.of.shape)
      const size = height * columns
      const [from, to] = [Math.floor(first / size), Math.ceil((first + count) / size)]
      return decodedRanges(reader.of, from * size, Math.min(to * size, rows * columns) - from * size)
    }
    case 'memory':
    case 'held':
      return []
  }
}

/** The codes of whole rows, and all other parts. */
function decodedRanges({ shape, form, parts }: DecodedReader, first: number, count: number): StoredRange[] {
  const { rows, columns } = matrixOf(shape)
  const from = Math.floor(first / columns)
  const to = Math.min(rows, Math.ceil((first + count) / columns))
  return parts.flatMap((source, index) => {
    const all = elementsOf(source.reader, source.elementBytes)
    if (index > 0 || rows === 0) return sourceRanges(source, 0, all)
    const { codes } = form
    if (rows === 1 && (codes.kind === 'nibbles' || codes.kind === 'numbers')) {
      const perByte = codes.kind === 'nibbles' ? 2 : 1
      const start = Math.floor(first / perByte)
      return sourceRanges(source, start, Math.ceil((first + count) / perByte) - start)
    }
    const high = codes.kind === 'across' ? codes.order.length : 1
    const width = all / Math.ceil(rows / high)
    const start = Math.floor(from / high) * width
    return sourceRanges(source, start, Math.ceil(to / high) * width - start)
  })
}

/** Elements of a stored part. */
const elementsOf = (reader: Reader, elementBytes: number): number =>
  reader.kind === 'contiguous' ? reader.bytes / elementBytes : 'shape' in reader ? elements(reader.shape) : 0

const sourceRanges = ({ reader, elementBytes }: Source, first: number, count: number): StoredRange[] =>
  rangesIn(reader, elementBytes, first, count)

function rowRanges(
  { rowLength, starts, runSources, runRows, sources, means }: RowsReader,
  first: number,
  count: number,
) {
  const found: StoredRange[] = []
  const add = (from: number, to: number): void => {
    for (const [run, source] of runSources.entries()) {
      const [start, end] = [Math.max(from, starts[run]! * rowLength), Math.min(to, starts[run + 1]! * rowLength)]
      if (start >= end || source === ZEROS) continue
      const inside = start - starts[run]! * rowLength
      if (source >= 0) found.push(...sourceRanges(sources[source]!, runRows[run]! * rowLength + inside, end - start))
      else if (source === MEANS) addMeans(runRows[run]!, inside, end - start)
      // The mean is computed for all columns at once.
      else if (source === MEAN_BEFORE) add(0, Math.min(starts[run]!, runRows[run]!) * rowLength)
    }
  }
  const addMeans = (mean: number, inside: number, length: number): void => {
    for (let at = inside; at < inside + length; ) {
      const [row, column] = [Math.floor(at / rowLength), at % rowLength]
      const n = Math.min(rowLength - column, inside + length - at)
      const places = means[mean + row]!
      for (let i = 0; i < places.length; i += 2)
        found.push(...sourceRanges(sources[places[i]!]!, places[i + 1]! * rowLength + column, n))
      at += n
    }
  }
  add(first, first + count)
  return found
}

type Interval = readonly [from: number, to: number]

/** The intervals, in elements, of `count` places from row-major index `first`, limited in number. */
function intervalsOf({ shape, strides, maps }: AxisPlaces, first: number, count: number): Interval[] {
  return boxesOf(shape, first, count).flatMap(({ starts, sizes }) => {
    const axes = sizes
      .map((size, axis) => ({ ...{ size, start: starts[axis]!, map: maps[axis] }, stride: strides[axis]! }))
      .sort((a, b) => a.stride - b.stride)
    let intervals: Interval[] = [[0, 1]]
    for (const { stride, size, start, map } of axes) {
      const [first, ...others] = intervals as [Interval, ...Interval[]]
      // Places that follow each other without a gap.
      if (!map && size > 0 && others.length === 0 && stride <= first[1] - first[0]) {
        intervals = [[first[0] + start * stride, first[1] + (start + size - 1) * stride]]
        continue
      }
      const places = placesAlong(map, start, size)
      const whole = intervals.length * places.length > MOST_RANGES ? spanOf(intervals) : undefined
      if (whole && places.length > MOST_RANGES) {
        const [low, high] = [places[0]!, places.at(-1)!]
        intervals = [[whole[0] + low * stride, whole[1] + high * stride]]
        continue
      }
      const each = whole ? [whole] : intervals
      intervals = joined(
        places.flatMap((place) => each.map(([from, to]): Interval => [from + place * stride, to + place * stride])),
      )
    }
    return intervals
  })
}

/** Places along an axis, sorted by their order in the file. */
function placesAlong(map: Int32Array | null | undefined, start: number, size: number): number[] {
  if (!map) return Array.from({ length: size }, (_, i) => start + i)
  return [...map.subarray(start, start + size).toSorted()]
}

const spanOf = (intervals: readonly Interval[]): Interval => [
  intervals.reduce((low, [from]) => Math.min(low, from), intervals[0]![0]),
  intervals.reduce((high, [, to]) => Math.max(high, to), 0),
]

function joined(intervals: readonly Interval[]): Interval[] {
  const all: Interval[] = []
  for (const [from, to] of intervals.toSorted(([a], [b]) => a - b)) {
    const last = all.at(-1)
    if (last && from <= last[1]) all[all.length - 1] = [last[0], Math.max(last[1], to)]
    else all.push([from, to])
  }
  return all
}

/** Merges overlapping ranges and sorts them by file and offset. If there are too many, the closest ones are joined. */
function bounded(ranges: readonly StoredRange[]): StoredRange[] {
  const files = [...new Set(ranges.map(({ file }) => file))].sort((a, b) => a - b)
  const apart = files.flatMap((file) =>
    joined(
      ranges.flatMap(({ file: own, offset, bytes }): Interval[] => (own === file ? [[offset, offset + bytes]] : [])),
    ).map(([from, to]) => ({ file, from, to })),
  )
  const gaps = apart
    .flatMap(({ file, from }, at) => (at > 0 && apart[at - 1]!.file === file ? [from - apart[at - 1]!.to] : []))
    .sort((a, b) => b - a)
  const least = gaps[Math.max(0, MOST_RANGES - files.length)] ?? -1
  const found: { file: number; from: number; to: number }[] = []
  for (const range of apart) {
    const last = found.at(-1)
    if (last?.file === range.file && range.from - last.to <= least) last.to = range.to
    else found.push({ ...range })
  }
  return found.map(({ file, from, to }) => ({ file, offset: from, bytes: to - from }))
}
