/**
 * Transposed matrices in files: a row of the result has one element of each stored row. Some rows of the result are kept, because
 * reading them one by one would read the whole matrix for each.
 */
import type { TurnKernels } from '../../../kernels/types.js'
import type { Source } from '../../../views/readers.js'
import { offsetOf } from '../../../views/strided.js'
import { type Matrices, type Turned, type TurnedPart, turnedOf } from '../../../views/transposed.js'
import type { Band, Bands } from './keptRows.js'
import type { Reading } from './reading.js'

/** Lines and rows come in multiples of this number, where there are more: whole squares are turned faster. */
const SQUARE = 64

/** The address of elements of transposed matrices, if they lie one after the other among the rows that are kept. */
export function keptAt(source: Source, reading: Reading, first: number, count: number): number | undefined {
  const found = rowsOf(source, reading)
  if (!found) return undefined
  const { turned, bands } = found
  const { elementBytes } = source
  const from = first * elementBytes
  const band = bandWith(turned, bands, reading, Math.floor(from / turned.rowBytes))
  const inside = from - band.row * turned.rowBytes
  return inside + count * elementBytes <= band.rows * turned.rowBytes ? band.address + inside : undefined
}

/** Puts elements of transposed matrices to an address. False if the reader is something else, or rows are too long to be kept. */
export function readTransposed(
  source: Source,
  reading: Reading,
  first: number,
  count: number,
  address: number,
): boolean {
  const found = rowsOf(source, reading)
  if (!found) return false
  const { turned, bands } = found
  const { elementBytes } = source
  const memory = new Uint8Array(reading.worker.memory.buffer)
  const end = (first + count) * elementBytes
  for (let at = first * elementBytes; at < end; ) {
    const band = bandWith(turned, bands, reading, Math.floor(at / turned.rowBytes))
    const inside = at - band.row * turned.rowBytes
    const bytes = Math.min(end - at, band.rows * turned.rowBytes - inside)
    const from = band.address + inside
    memory.copyWithin(address + at - first * elementBytes, from, from + bytes)
    at += bytes
  }
  return true
}

function rowsOf(
  source: Source,
  { worker, slot }: Reading,
): { readonly turned: Turned; readonly bands: Bands } | undefined {
  const turned = turnedOf(source)
  const bands = turned && worker.kept.of(slot)
  return bands && turned.rowBytes <= bands.bytes ? { turned, bands } : undefined
}

/** The band that has a row. */
function bandWith(turned: Turned, { list, bytes }: Bands, reading: Reading, row: number): Band {
  const known = list.findIndex(({ of, row: first, rows }) => of === turned && row >= first && row < first + rows)
  const own = known >= 0 ? known : list.findIndex(({ of }) => of === turned)
  // Its own rows before this one are not needed any more; otherwise those that were not used for longest go.
  const [band] = list.splice(Math.max(0, own), 1) as [Band]
  list.push(band)
  if (known >= 0) return band
  const { rows, rowBytes } = turned
  const needed = Math.max(1, Math.min(rows, Math.ceil(reading.end / rowBytes)) - row)
  const room = Math.floor(bytes / rowBytes)
  // Of equal size, so that the last one does not read as much as the others for a few rows.
  const even = Math.ceil(needed / Math.ceil(needed / room))
  const whole = Math.ceil(even / SQUARE) * SQUARE
  band.of = undefined
  band.row = row
  band.rows = Math.min(needed, whole <= room ? whole : even)
  for (const part of turned.parts) fill(band, part, reading, rowBytes)
  band.of = turned
  return band
}

/** Puts the rows that a part has among those of a band to their places. */
function fill(band: Band, { matrices, first, rows, at }: TurnedPart, reading: Reading, rowBytes: number): void {
  const { outer, row } = matrices
  const end = Math.min(band.row + band.rows, first + rows)
  for (let next = Math.max(band.row, first); next < end; ) {
    const top = (next - first) % row.size
    const n = Math.min(row.size - top, end - next)
    const start = offsetOf(outer, (next - first - top) / row.size) + top * row.stride
    fillMatrix(matrices, reading, start, n, band.address + (next - band.row) * rowBytes + at, rowBytes)
    next += n
  }
}

/** Puts rows of one matrix to an address. `start`: the place of the first one in the file, in elements. */
function fillMatrix(
  { reader, row, column, width }: Matrices,
  { worker, slot }: Reading,
  start: number,
  rows: number,
  to: number,
  rowBytes: number,
): void {
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
