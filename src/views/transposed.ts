/** Transposed matrices in files: a row of the result has one element of each stored row, so workers keep some rows. */
import { elements } from '../core/dtypes.js'
import { TILE } from '../kernels/types.js'
import { storedBytes } from './ranges.js'
import type { Reader, Source, StridedReader } from './readers.js'
import { type Axis, collapsed } from './strided.js'
import type { View } from './types.js'

/** Bytes that a worker keeps for all transposed matrices of a program. */
export const KEPT = 32 * 2 ** 20
/** Parts of a leaf that have rows in memory at a time, at most. */
const MOST_PARTS = 16

/** The matrices that a reader transposes, which follow one another in the result. */
export interface Matrices {
  /** Bytes of an element. */
  readonly width: number
  /** Axes before those of the matrices; their strides and all others count elements. */
  readonly outer: readonly Axis[]
  /** From one row of the result to the next, which is the shorter way in the file. */
  readonly row: Axis
  readonly column: Axis
  /** Rows of all matrices. */
  readonly rows: number
  /** Bytes of a row. */
  readonly rowBytes: number
}

const known = new WeakMap<StridedReader, Matrices | 'other'>()

/** The matrices that a reader transposes; undefined if it does something else. */
export function matricesOf(reader: StridedReader, elementBytes: number): Matrices | undefined {
  const found = known.get(reader) ?? findMatrices(reader, elementBytes) ?? 'other'
  known.set(reader, found)
  return found === 'other' ? undefined : found
}

function findMatrices({ shape, strides }: StridedReader, elementBytes: number): Matrices | undefined {
  const { axes, width } = wholeElements(collapsed(shape, strides), elementBytes)
  const [row, column] = axes.slice(-2)
  if (!row || !column || row.stride <= 0 || column.stride <= row.stride || ![1, 2, 4, 8].includes(width))
    return undefined
  const outer = axes.slice(0, -2)
  const rows = outer.reduce((product, { size }) => product * size, row.size)
  return { width, outer, row, column, rows, rowBytes: column.size * width }
}

/** Elements whose bytes are read one by one, as elements. */
function wholeElements(axes: readonly Axis[], elementBytes: number): { axes: readonly Axis[]; width: number } {
  const last = axes.at(-1)!
  const rest = axes.slice(0, -1)
  const isElement =
    elementBytes === 1 && last.stride === 1 && last.size > 1 && rest.every(({ stride }) => stride % last.size === 0)
  if (!isElement || rest.length < 2) return { axes, width: elementBytes }
  return { axes: rest.map(({ size, stride }) => ({ size, stride: stride / last.size })), width: last.size }
}

/** How many places for rows a reader needs, so that it reads nothing twice from the first element to the last. */
export function keptParts({ reader, elementBytes }: Source): number {
  switch (reader.kind) {
    case 'strided':
      return matricesOf(reader, elementBytes) ? 1 : 0
    case 'concat': {
      // Parts that follow one another need rows one after another; parts in turns need them at the same time.
      const counts = reader.parts.map(({ source, block }) => ({
        parts: keptParts(source),
        inTurns: lengthOf(source.reader, source.elementBytes) > block,
      }))
      const inTurns = counts.reduce((sum, { parts, inTurns }) => sum + (inTurns ? parts : 0), 0)
      return Math.min(
        MOST_PARTS,
        counts.reduce((most, { parts }) => Math.max(most, parts), inTurns),
      )
    }
    case 'rows':
      return sumOfParts(reader.sources)
    case 'decoded':
      return sumOfParts(reader.parts)
    case 'turned':
      return sumOfParts(reader.of.parts)
    case 'picked':
      return keptParts({ reader: reader.of, elementBytes, dtype: 'raw' })
    default:
      return 0
  }
}

const sumOfParts = (sources: readonly Source[]): number =>
  Math.min(
    MOST_PARTS,
    sources.reduce((sum, source) => sum + keptParts(source), 0),
  )

/** Elements of a reader that can have parts for rows. */
function lengthOf(reader: Reader, elementBytes: number): number {
  switch (reader.kind) {
    case 'contiguous':
      return reader.bytes / elementBytes
    case 'concat':
      return reader.parts.reduce((sum, { source }) => sum + lengthOf(source.reader, source.elementBytes), 0)
    case 'rows':
      return reader.starts.at(-1)! * reader.rowLength
    case 'turned':
      return elements(reader.of.shape)
    case 'memory':
    case 'held':
      return 0
    default:
      return elements(reader.shape)
  }
}

/** Bytes for the rows of each part, if a program has so many. */
export const partBytes = (parts: number): number => Math.floor(KEPT / Math.max(1, parts) / 4096) * 4096

/** Tiles whose rows have room, so that they are best made at once. Undefined if nothing is transposed. */
export function keptTiles(sources: readonly Source[]): number | undefined {
  const parts = sources.map(keptParts)
  const all = parts.reduce((sum, count) => sum + count, 0)
  if (all === 0) return undefined
  const bytes = partBytes(all)
  const tiles = sources.map(({ elementBytes }, at) =>
    parts[at] === 0 ? Number.POSITIVE_INFINITY : Math.floor((bytes * parts[at]!) / elementBytes / TILE),
  )
  return Math.max(1, Math.min(...tiles))
}

/** Bytes of rows that a worker may keep of a view, at most. */
export function keptBytes(view: View): number {
  switch (view.kind) {
    case 'stored':
      return view.strides === undefined ? 0 : view.bytes
    case 'permute':
      return Math.max(view.of.kind === 'decode' ? 0 : storedBytes(view.of), keptBytes(view.of))
    case 'slice':
    case 'reshape':
    case 'repeat':
      return keptBytes(view.of)
    case 'concat':
      return view.parts.reduce((sum, part) => sum + keptBytes(part), 0)
    case 'decode':
    case 'gather':
      return view.of.reduce((sum, part) => sum + keptBytes(part), 0)
  }
}
