/** Transposed matrices in files: a row of the result has one element of each stored row, so workers keep some rows. */
import { elements } from '../core/dtypes.js'
import { TILE } from '../kernels/types.js'
import { lower } from './lower.js'
import { storedBytes } from './ranges.js'
import type { Reader, Source, StridedReader } from './readers.js'
import { dtypeOf } from './shape.js'
import { isDecoded } from './stored.js'
import { type Axis, collapsed } from './strided.js'
import type { View } from './types.js'

/** Bytes that a worker keeps for all transposed matrices of a program, and what it keeps at most where that pays. */
export const KEPT = 32 * 2 ** 20
export const MOST_KEPT = 128 * 2 ** 20
/** Bytes of a stored row that are worth a call to the system. */
const SEGMENT = 6144
/** How often a matrix may be read as a whole. */
const PASSES = 3
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
  if (turnedOf(source)) return 1
  const { reader, elementBytes } = source
  const inner = innerOf(source).map(keptParts)
  if (reader.kind !== 'concat')
    return Math.min(
      MOST_PARTS,
      inner.reduce((sum, count) => sum + count, 0),
    )
  // Parts that follow one another need rows one after another; parts in turns need them at the same time.
  const inTurns = reader.parts.reduce(
    (sum, { source: part, block }, at) => sum + (lengthOf(part.reader, elementBytes) > block ? inner[at]! : 0),
    0,
  )
  return Math.min(
    MOST_PARTS,
    inner.reduce((most, count) => Math.max(most, count), inTurns),
  )
}

/** Readers within a reader. */
function innerOf({ reader, elementBytes, dtype }: Source): readonly Source[] {
  switch (reader.kind) {
    case 'concat':
      return reader.parts.map(({ source }) => source)
    case 'rows':
      return reader.sources
    case 'decoded':
      return reader.parts
    case 'turned':
      return reader.of.parts
    case 'picked':
      return [{ reader: reader.of, elementBytes, dtype }]
    default:
      return []
  }
}

/** Bytes of rows with which matrices are read in few calls, and not many times. */
function usefulBytes(source: Source): number {
  const turned = turnedOf(source)
  if (!turned) return innerOf(source).reduce((most, one) => Math.max(most, usefulBytes(one)), 0)
  return turned.parts.reduce((most, { matrices: { row, width } }) => {
    const step = row.stride * width
    const few = (row.size * turned.rowBytes) / PASSES
    return Math.max(most, row.size * step < SEGMENT ? few : Math.min(few, (SEGMENT / step) * turned.rowBytes))
  }, 0)
}

/** Bytes that a worker keeps for a program of these sources, if it may keep `most`. */
export const keptFor = (sources: readonly Source[], most: number): number =>
  Math.max(
    KEPT,
    Math.min(
      most,
      sources.reduce((sum, source) => sum + usefulBytes(source), 0),
    ),
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

/** Bytes for the rows of each part, if a program has so many that share `bytes`. */
export const partBytes = (parts: number, bytes: number): number => Math.floor(bytes / Math.max(1, parts) / 4096) * 4096

/** Tiles whose rows have room, so that they are best made at once. Undefined if nothing is transposed. `most`: bytes that a worker may keep. */
export function keptTiles(sources: readonly Source[], most: number): number | undefined {
  const parts = sources.map(keptParts)
  const all = parts.reduce((sum, count) => sum + count, 0)
  if (all === 0) return undefined
  const bytes = partBytes(all, keptFor(sources, most))
  const tiles = sources.map(({ elementBytes }, at) =>
    parts[at] === 0 ? Number.POSITIVE_INFINITY : Math.floor((bytes * parts[at]!) / elementBytes / TILE),
  )
  return Math.max(1, Math.min(...tiles))
}

/** Bytes of rows that a worker keeps of the views of a program, if it may keep `most`. */
export function keptOf(views: readonly View[], most: number): number {
  const all = views.reduce((sum, view) => sum + keptBytes(view), 0)
  if (all <= KEPT || most <= KEPT) return Math.min(all, KEPT)
  const sources = views.map((view) => {
    const raw = dtypeOf(view) !== undefined && !isDecoded(view)
    return lower(view, { raw, mixed: 'F32', maps: () => [] })
  })
  return Math.min(all, keptFor(sources, most))
}

/** Bytes of rows that a worker may keep of a view, at most. */
function keptBytes(view: View): number {
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
