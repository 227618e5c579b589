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

/** Matrices in a file that are transposed; they follow one another in the result. */
export interface Matrices {
  readonly reader: StridedReader
  /** Bytes of an element. */
  readonly width: number
  /** Axes before those of the matrices; their strides and all others count elements. */
  readonly outer: readonly Axis[]
  /** From one row of the result to the next, which is the shorter way in the file. */
  readonly row: Axis
  readonly column: Axis
}

/** What a reader transposes: rows of the result. */
export interface Turned {
  readonly parts: readonly TurnedPart[]
  readonly rows: number
  /** Bytes of a row. */
  readonly rowBytes: number
}

export interface TurnedPart {
  readonly matrices: Matrices
  /** The rows that have it. */
  readonly first: number
  readonly rows: number
  /** Bytes before it in each row. */
  readonly at: number
}

const known = new WeakMap<Reader, Turned | 'other'>()

/** What a reader transposes; undefined if it does something else. */
export function turnedOf(source: Source): Turned | undefined {
  const found = known.get(source.reader) ?? findTurned(source) ?? 'other'
  known.set(source.reader, found)
  return found === 'other' ? undefined : found
}

function findTurned({ reader, dtype, elementBytes }: Source): Turned | undefined {
  if (reader.kind === 'strided') {
    const matrices = findMatrices(reader, elementBytes)
    if (!matrices) return undefined
    const rows = matrices.outer.reduce((product, { size }) => product * size, matrices.row.size)
    return { parts: [{ matrices, first: 0, rows, at: 0 }], rows, rowBytes: matrices.column.size * matrices.width }
  }
  if (reader.kind !== 'concat') return undefined
  const all: Turned[] = []
  for (const { source } of reader.parts) {
    const turned = source.dtype === dtype ? turnedOf(source) : undefined
    if (!turned) return undefined
    all.push(turned)
  }
  const blocks = reader.parts.map(({ block }) => block * elementBytes)
  const [{ rows, rowBytes }] = all as [Turned]
  if (all.every((turned, at) => turned.rowBytes === rowBytes && blocks[at] === turned.rows * rowBytes))
    return oneAfterAnother(all, rowBytes)
  return all.every((turned, at) => turned.rows === rows && blocks[at] === turned.rowBytes)
    ? sideBySide(all, rows)
    : undefined
}

function oneAfterAnother(all: readonly Turned[], rowBytes: number): Turned {
  let rows = 0
  const parts: TurnedPart[] = []
  for (const turned of all) {
    for (const part of turned.parts) parts.push({ ...part, first: rows + part.first })
    rows += turned.rows
  }
  return { parts, rows, rowBytes }
}

function sideBySide(all: readonly Turned[], rows: number): Turned {
  let rowBytes = 0
  const parts: TurnedPart[] = []
  for (const turned of all) {
    for (const part of turned.parts) parts.push({ ...part, at: rowBytes + part.at })
    rowBytes += turned.rowBytes
  }
  return { parts, rows, rowBytes }
}

function findMatrices(reader: StridedReader, elementBytes: number): Matrices | undefined {
  const { axes, width } = wholeElements(collapsed(reader.shape, reader.strides), elementBytes)
  const [row, column] = axes.slice(-2)
  if (!row || !column || row.stride <= 0 || column.stride <= row.stride || ![1, 2, 4, 8].includes(width))
    return undefined
  return { reader, width, outer: axes.slice(0, -2), row, column }
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
export function keptParts(source: Source): number {
  const { reader, elementBytes } = source
  if (turnedOf(source)) return 1
  switch (reader.kind) {
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
