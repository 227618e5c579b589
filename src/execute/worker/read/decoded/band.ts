/** Codes in memory: in the file's window, or in a band if numbers need them in another order than the file has them. */
import { isInWords } from '../../../../views/decodeForm.js'
import { CACHES } from '../../../../views/decodeScratch.js'
import type { ContiguousReader, StridedReader } from '../../../../views/readers.js'
import { bytesOfPart, countOf } from './fixed.js'
import { type DecodedState, isColumns } from './state.js'

/** How many rows can be read at once, at least one. */
export function codeRows({ reader, rowBytes, reading, box }: DecodedState): number {
  if (box) return Number.POSITIVE_INFINITY
  const { codes } = reader.form
  const { slotRoom, bandBytes } = reading.worker
  if (codes.kind === 'across')
    return Math.max(1, (Math.floor(bandBytes / 2 / Math.max(1, rowBytes)) - 1) * codes.order.length)
  const room = reader.parts[0]!.reader.kind === 'contiguous' ? slotRoom : bandBytes / 2
  return Math.max(1, Math.floor(room / Math.max(1, rowBytes)))
}

/** Bytes `from` on of rows of codes: the address of the first row, and the distance to the next. */
export function rowsAt(
  state: DecodedState,
  row: number,
  rows: number,
  from: number,
  bytes: number,
): { readonly address: number; readonly stride: number } {
  const { reader, reading, rowBytes, box, band } = state
  if (box) return { address: band.address + (row - box.row) * box.bytes + (from - box.from), stride: box.bytes }
  const codes = reader.parts[0]!.reader
  if (codes.kind !== 'contiguous') {
    const words = (row * rowBytes + from) / 4
    return { address: wordsAt(state, words, words + ((rows - 1) * rowBytes + bytes) / 4), stride: rowBytes }
  }
  const address = reading.slot.at(
    reading.worker.input(codes.file),
    codes.offset + row * rowBytes + from,
    (rows - 1) * rowBytes + bytes,
  )
  return { address, stride: rowBytes }
}

/** Words of codes by row-major index, which are not contiguous in the file. They are read in large pieces. */
export function wordsAt(state: DecodedState, from: number, to: number): number {
  const { band, reader, reading } = state
  if (from < band.from || to > band.to) {
    const total = countOf(reader.parts[0]!)
    const most = Math.floor(reading.worker.bandBytes / 4)
    const sequential = total <= most || band.to === 0 || (from >= band.from && from <= band.to)
    const start = total <= most ? 0 : from
    const end = Math.min(total, sequential ? start + most : Math.max(to, Math.min(start + most, to)))
    band.to = 0
    const codes = reader.parts[0]!.reader
    if (codes.kind === 'strided' && isColumns(reader, 0) && codes.shape[1]! * 4 <= reading.worker.bandBytes / 8)
      return columnsAt(state, codes, from, to, sequential)
    bytesOfPart(state, 0, start, end - start, band.address)
    band.from = start
    band.to = end
  }
  return band.address + (from - band.from) * 4
}

/** Words of whole rows, which are columns in the file. Rows of the file are read in large pieces, or one by one. */
function columnsAt(
  { band, reading, raw }: DecodedState,
  { file, offset, shape, strides }: StridedReader,
  from: number,
  to: number,
  sequential: boolean,
): number {
  const { worker, slot } = reading
  const transpose = worker.kernels.turn[4]
  const [rows, columns] = [shape[0]!, shape[1]!]
  const line = strides[1]! * 4
  const most = Math.floor(worker.bandBytes / 4 / columns)
  const first = most >= rows ? 0 : Math.floor(from / columns)
  const needed = Math.ceil(to / columns) - first
  const count = Math.min(rows - first, sequential || needed > most ? most : needed)
  const width = count * 4
  // One call for several rows reads what lies between them as well.
  const together = line > CALL + width ? 1 : Math.max(1, Math.floor((worker.slotRoom - width) / line) + 1)
  const read = (column: number, n: number) =>
    slot.at(worker.input(file), offset + column * line + first * 4, (n - 1) * line + width)
  // Rows that are read one by one are put together, since several are transposed faster than one.
  const gathered = Math.floor(CACHES.raw / width)
  const step = together === 1 && gathered > 1 ? gathered : together
  const memory = new Uint8Array(worker.memory.buffer)
  for (let column = 0; column < columns; column += step) {
    const n = Math.min(step, columns - column)
    const to = band.address + column * 4
    if (step === together) transpose(read(column, n), line, n, count, to, columns * 4)
    else {
      for (let i = 0; i < n; i++) {
        const at = read(column + i, 1)
        memory.copyWithin(raw + i * width, at, at + width)
      }
      transpose(raw, width, n, count, to, columns * 4)
    }
  }
  band.from = first * columns
  band.to = (first + count) * columns
  if (to > band.to) throw new Error('internal: codes that do not fit the band')
  return band.address + (from - band.from) * 4
}

/** Bytes that lie between two words and are read with them, because that takes less time than another call. */
const CALL = 49_152

/** Keeps the codes of some columns of these rows in the band, and of as many columns after them as there is room for. */
export function keepColumns(state: DecodedState, row: number, rows: number, column: number, columns: number): void {
  const { reader, reading, rowBytes, box, band } = state
  const codes = reader.parts[0]!.reader
  const perByte = reader.form.codes.kind === 'nibbles' ? 2 : 1
  if (codes.kind !== 'contiguous' || isInWords(reader.form.codes)) return
  const [from, to] = [Math.floor(column / perByte), Math.ceil((column + columns) / perByte)]
  if (box && box.row === row && box.rows >= rows && from >= box.from && to <= box.from + box.bytes) return
  const bytes = Math.min(rowBytes - from, Math.max(to - from, Math.floor(reading.worker.bandBytes / rows)))
  const piece = Math.max(1, Math.floor(reading.worker.slotRoom / rowBytes))
  const memory = new Uint8Array(reading.worker.memory.buffer)
  for (let done = 0; done < rows; done += piece) {
    const n = Math.min(piece, rows - done)
    const at = slotAt(state, codes, (row + done) * rowBytes + from, (n - 1) * rowBytes + bytes)
    for (let i = 0; i < n; i++)
      memory.copyWithin(band.address + (done + i) * bytes, at + i * rowBytes, at + i * rowBytes + bytes)
  }
  state.box = { row, rows, from, bytes }
}

const slotAt = ({ reading }: DecodedState, { file, offset }: ContiguousReader, from: number, bytes: number): number =>
  reading.slot.at(reading.worker.input(file), offset + from, bytes)
