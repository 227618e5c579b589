/**
 * Transposed matrices in files: a row of the result has one element of each stored row. Some rows of the result are kept, because
 * reading them one by one would read the whole matrix for each.
 */
import type { TurnKernels } from '../../../kernels/types.js'
import type { StridedReader } from '../../../views/readers.js'
import { offsetOf } from '../../../views/strided.js'
import { type Matrices, matricesOf } from '../../../views/transposed.js'
import type { Band, Bands } from './keptRows.js'
import type { Reading } from './reading.js'

/** Lines and rows come in multiples of this number, where there are more: whole squares are turned faster. */
const SQUARE = 64

/** The address of elements of transposed matrices, if they lie one after the other among the rows that are kept. */
export function keptAt(
  reader: StridedReader,
  elementBytes: number,
  reading: Reading,
  first: number,
  count: number,
): number | undefined {
  const found = rowsOf(reader, elementBytes, reading)
  if (!found) return undefined
  const { matrices, bands } = found
  const from = first * elementBytes
  const row = Math.floor(from / matrices.rowBytes)
  const band = bandWith(reader, matrices, bands, reading, row)
  const inside = from - band.row * matrices.rowBytes
  return inside + count * elementBytes <= band.rows * matrices.rowBytes ? band.address + inside : undefined
}

/** Puts elements of transposed matrices to an address. False if the reader is something else, or rows are too long to be kept. */
export function readTransposed(
  reader: StridedReader,
  elementBytes: number,
  reading: Reading,
  first: number,
  count: number,
  address: number,
): boolean {
  const found = rowsOf(reader, elementBytes, reading)
  if (!found) return false
  const { matrices, bands } = found
  const memory = new Uint8Array(reading.worker.memory.buffer)
  const end = (first + count) * elementBytes
  for (let at = first * elementBytes; at < end; ) {
    const band = bandWith(reader, matrices, bands, reading, Math.floor(at / matrices.rowBytes))
    const inside = at - band.row * matrices.rowBytes
    const bytes = Math.min(end - at, band.rows * matrices.rowBytes - inside)
    const from = band.address + inside
    memory.copyWithin(address + at - first * elementBytes, from, from + bytes)
    at += bytes
  }
  return true
}

function rowsOf(
  reader: StridedReader,
  elementBytes: number,
  { worker, slot }: Reading,
): { readonly matrices: Matrices; readonly bands: Bands } | undefined {
  const matrices = matricesOf(reader, elementBytes)
  const bands = matrices && worker.kept.of(slot)
  return bands && matrices.rowBytes <= bands.bytes ? { matrices, bands } : undefined
}

/** The band that has a row. */
function bandWith(reader: StridedReader, matrices: Matrices, bands: Bands, reading: Reading, row: number): Band {
  const { list, bytes } = bands
  const known = list.findIndex((band) => band.reader === reader && row >= band.row && row < band.row + band.rows)
  const own = known >= 0 ? known : list.findIndex((band) => band.reader === reader)
  // Its own rows before this one are not needed any more; otherwise those that were not used for longest go.
  const [band] = list.splice(Math.max(0, own), 1) as [Band]
  list.push(band)
  if (known >= 0) return band
  const { rows, rowBytes } = matrices
  const needed = Math.max(1, Math.min(rows, Math.ceil(reading.end / rowBytes)) - row)
  const room = Math.floor(bytes / rowBytes)
  // Of equal size, so that the last one does not read as much as the others for a few rows.
  const even = Math.ceil(needed / Math.ceil(needed / room))
  const whole = Math.ceil(even / SQUARE) * SQUARE
  band.reader = undefined
  band.row = row
  band.rows = Math.min(needed, whole <= room ? whole : even)
  fill(band, reader, matrices, reading)
  band.reader = reader
  return band
}

function fill(band: Band, reader: StridedReader, matrices: Matrices, reading: Reading): void {
  const { outer, row, rowBytes } = matrices
  for (let done = 0; done < band.rows; ) {
    const top = (band.row + done) % row.size
    const rows = Math.min(row.size - top, band.rows - done)
    const start = offsetOf(outer, (band.row + done - top) / row.size) + top * row.stride
    fillMatrix(reader, matrices, reading, start, rows, band.address + done * rowBytes)
    done += rows
  }
}

/** Puts rows of one matrix to an address. `start`: the place of the first one in the file, in elements. */
function fillMatrix(
  reader: StridedReader,
  matrices: Matrices,
  { worker, slot }: Reading,
  start: number,
  rows: number,
  to: number,
): void {
  const { row, column, width, rowBytes } = matrices
  const [step, apart] = [row.stride * width, column.stride * width]
  const input = worker.input(reader.file)
  // A stored row can be wider than a slot.
  const most = Math.floor((worker.slotRoom - width) / step) + 1
  for (let top = 0; top < rows; top += most) {
    const n = Math.min(most, rows - top)
    const bytes = (n - 1) * step + width
    const fitting = slot.linesWithin(bytes, apart)
    const lines = fitting > SQUARE ? fitting - (fitting % SQUARE) : fitting
    for (let left = 0; left < column.size; left += lines) {
      const count = Math.min(lines, column.size - left)
      const place = reader.offset + (start + top * row.stride) * width + left * apart
      const { address, stride } = slot.lines(input, place, bytes, apart, count)
      const target = to + top * rowBytes + left * width
      turn(worker.kernels.turn, width, address, stride, step, count, n, target, rowBytes)
    }
  }
}

function turn(
  kernels: TurnKernels,
  width: number,
  source: number,
  line: number,
  step: number,
  rows: number,
  columns: number,
  to: number,
  stride: number,
): void {
  const kernel = step === width ? kernels[width as 1 | 2 | 4 | 8] : undefined
  if (kernel) kernel(source, line, rows, columns, to, stride)
  else kernels.apart(source, line, step, rows, columns, to, stride, width)
}
