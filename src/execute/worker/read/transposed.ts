/**
 * Transposed matrices in files that are read: a row of the result has one element of each stored row. Some rows of the result are
 * kept, because reading them one by one would read the whole matrix for each.
 */
import type { StridedReader } from '../../../views/readers.js'
import { type Axis, collapsed, offsetOf } from '../../../views/strided.js'
import { KEPT, SMALL } from '../../../views/transposed.js'
import type { WorkerContext } from '../context.js'
import type { Reading } from './reading.js'

/** Bands that share them at first, and at most: each matrix that is read at a time needs its own. */
const [FEWEST, MOST] = [4, 64]
/** Bytes between two stored rows above which they are read one by one. */
const GAP = 12_288
/** Rows and columns of the squares in which elements are copied, so that whole cache lines are used. */
const SQUARE = 32

type Words = Uint8Array | Uint16Array | Uint32Array

/** Rows of the result, one after the other. */
interface Band {
  reader?: StridedReader
  matrix: number
  row: number
  rows: number
  /** The number of the fill that made it. */
  made: number
  words: Words
}

interface Kept {
  /** The band that was used last comes last. */
  readonly bands: Band[]
  share: number
  fills: number
}

const kept = new WeakMap<WorkerContext, Kept>()

interface Matrix {
  readonly outer: readonly Axis[]
  readonly row: Axis
  readonly column: Axis
}

const matrices = new WeakMap<StridedReader, Matrix | 'other'>()

/** The matrices that a reader transposes; undefined if it does not. */
function matrixOf(reader: StridedReader): Matrix | undefined {
  const known = matrices.get(reader)
  if (known) return known === 'other' ? undefined : known
  const axes = collapsed(reader.shape, reader.strides)
  const [row, column] = axes.slice(-2)
  const isTransposed = row && column && row.stride > 0 && column.stride > row.stride
  const found = isTransposed ? { outer: axes.slice(0, -2), row, column } : 'other'
  matrices.set(reader, found)
  return found === 'other' ? undefined : found
}

/** Puts elements of transposed matrices to an address. False if the reader is something else. */
export function readTransposed(
  reader: StridedReader,
  elementBytes: number,
  reading: Reading,
  first: number,
  count: number,
  address: number,
): boolean {
  const matrix = elementBytes > 4 ? undefined : matrixOf(reader)
  if (!matrix) return false
  const { row, column } = matrix
  if (row.size * column.size * elementBytes < SMALL) return false
  const target = wordsOn(reading.worker.memory.buffer, elementBytes, address, count)
  for (let done = 0; done < count; ) {
    const index = first + done
    const line = Math.floor(index / column.size)
    const [number, at] = [Math.floor(line / row.size), line % row.size]
    const band = bandWith(reader, matrix, elementBytes, reading, number, at)
    const from = (at - band.row) * column.size + (index % column.size)
    const n = Math.min(count - done, band.rows * column.size - from)
    target.set(band.words.subarray(from, from + n), done)
    done += n
  }
  return true
}

const wordsOn = (buffer: ArrayBufferLike, width: number, offset: number, length: number): Words =>
  width === 2
    ? new Uint16Array(buffer, offset, length)
    : width === 4
      ? new Uint32Array(buffer, offset, length)
      : new Uint8Array(buffer, offset, length)

/** The band that has a row of a matrix. */
function bandWith(
  reader: StridedReader,
  matrix: Matrix,
  elementBytes: number,
  reading: Reading,
  number: number,
  row: number,
): Band {
  const { worker } = reading
  const own = kept.get(worker) ?? { bands: [], share: FEWEST, fills: 0 }
  kept.set(worker, own)
  const { bands } = own
  const at = bands.findIndex(
    (band) => band.reader === reader && band.matrix === number && row >= band.row && row < band.row + band.rows,
  )
  const found = bands[at]
  if (found) {
    if (at < bands.length - 1) bands.push(...bands.splice(at, 1))
    return found
  }
  own.fills++
  // What was made lately is still in use: more matrices are read at a time, and each gets less.
  if (bands.length >= own.share && bands[0]!.made > own.fills - 2 * own.share && own.share < MOST) {
    own.share *= 2
    bands.length = 0
  }
  const bytes = KEPT / own.share
  const band = takeBand(own, bands, reader, bytes, elementBytes, matrix.column.size)
  const rows = Math.min(matrix.row.size - row, Math.max(1, Math.floor(bytes / elementBytes / matrix.column.size)))
  Object.assign(band, { reader, matrix: number, row, rows, made: own.fills })
  fill(band, matrix, elementBytes, reading)
  bands.push(band)
  return band
}

/** A band with room: the one that was not used for longest, or a new one. */
function takeBand(
  { share }: Kept,
  bands: Band[],
  reader: StridedReader,
  bytes: number,
  elementBytes: number,
  columns: number,
): Band {
  const old = bands.findIndex((band) => band.reader === reader)
  const [band] = old >= 0 ? bands.splice(old, 1) : bands.length >= share ? bands.splice(0, 1) : []
  const length = Math.max(columns, Math.floor(bytes / elementBytes))
  if (band && band.words.length >= length && band.words.BYTES_PER_ELEMENT === elementBytes) return band
  const words = wordsOn(new ArrayBuffer(length * elementBytes), elementBytes, 0, length)
  return { matrix: 0, row: 0, rows: 0, made: 0, words }
}

function fill(band: Band, matrix: Matrix, elementBytes: number, { worker, slot }: Reading): void {
  const { file, offset } = band.reader!
  const { outer, row, column } = matrix
  const start = offsetOf(outer, band.matrix) + band.row * row.stride
  const high = (band.rows - 1) * row.stride + 1
  const input = worker.input(file)
  const room = Math.floor(worker.slotRoom / elementBytes)
  const apart = (column.stride - high) * elementBytes > GAP || column.stride + high > room
  const together = apart ? 1 : Math.min(column.size, Math.floor((room - high) / column.stride) + 1)
  for (let left = 0; left < column.size; left += together) {
    const n = Math.min(together, column.size - left)
    // One stored row can be wider than a slot.
    for (let top = 0; top < band.rows; ) {
      const rows = n > 1 ? band.rows : Math.min(band.rows - top, Math.max(1, Math.floor((room - 1) / row.stride)))
      const length = (n - 1) * column.stride + (rows - 1) * row.stride + 1
      const place = offset + (start + left * column.stride + top * row.stride) * elementBytes
      const source = wordsOn(worker.memory.buffer, elementBytes, slot.at(input, place, length * elementBytes), length)
      turn(source, row.stride, column.stride, band.words, top * column.size + left, column.size, rows, n)
      top += rows
    }
  }
}

/** Copies a matrix transposed: element (row, column) lies at `row · down + column · along` in the source. */
function turn(
  source: Words,
  down: number,
  along: number,
  target: Words,
  to: number,
  pitch: number,
  rows: number,
  columns: number,
): void {
  if (source instanceof Uint16Array && target instanceof Uint16Array)
    turn16(source, down, along, target, to, pitch, rows, columns)
  else turnAny(source, down, along, target, to, pitch, rows, columns)
}

// Repeated: code that sees one type of array is compiled to several times faster code.

function turn16(
  source: Uint16Array,
  down: number,
  along: number,
  target: Uint16Array,
  to: number,
  pitch: number,
  rows: number,
  columns: number,
): void {
  for (let top = 0; top < rows; top += SQUARE)
    for (let left = 0; left < columns; left += SQUARE) {
      const [bottom, right] = [Math.min(rows, top + SQUARE), Math.min(columns, left + SQUARE)]
      for (let row = top; row < bottom; row++) {
        let from = row * down + left * along
        const end = to + row * pitch + right
        for (let at = to + row * pitch + left; at < end; at++, from += along) target[at] = source[from]!
      }
    }
}

function turnAny(
  source: Words,
  down: number,
  along: number,
  target: Words,
  to: number,
  pitch: number,
  rows: number,
  columns: number,
): void {
  for (let top = 0; top < rows; top += SQUARE)
    for (let left = 0; left < columns; left += SQUARE) {
      const [bottom, right] = [Math.min(rows, top + SQUARE), Math.min(columns, left + SQUARE)]
      for (let row = top; row < bottom; row++) {
        let from = row * down + left * along
        const end = to + row * pitch + right
        for (let at = to + row * pitch + left; at < end; at++, from += along) target[at] = source[from]!
      }
    }
}
