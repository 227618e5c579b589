/** Codes of decoded numbers: where they are in memory, and as float32. */
import { isInWords, wordsOf } from '../../../../views/decodeForm.js'
import { BAND } from '../../../../views/decodeScratch.js'
import type { ContiguousReader, StridedReader } from '../../../../views/readers.js'
import { bytesOfPart, countOf } from './fixed.js'
import type { DecodedState } from './state.js'

/** Puts the codes of `n` rows, from row `first` of those that were found on, to an address as float32. */
export type Unpack = (first: number, n: number, to: number) => void

/** Finds the codes of rows and columns. The caller limits the rows to `codeRows`. */
export function findCodes(state: DecodedState, row: number, rows: number, column: number, columns: number): Unpack {
  const { codes } = state.reader.form
  const { unpack } = state.reading.worker.kernels
  switch (codes.kind) {
    case 'numbers': {
      const { address, stride } = rowsAt(state, row, rows, column, columns)
      const numbers = unpack.numbers(codes.dtype)
      return (first, n, to) => numbers(address + first * stride, stride, to, n, columns)
    }
    case 'nibbles': {
      const from = Math.floor(column / 2)
      const { address, stride } = rowsAt(state, row, rows, from, Math.ceil((column + columns) / 2) - from)
      const [skip, high] = [column % 2, codes.first === 'high' ? 1 : 0]
      return (first, n, to) => unpack.nibbles(address + first * stride, stride, to, n, columns, skip, high, state.table)
    }
    case 'fields': {
      const { bits, perWord } = codes
      // Fields begin at a word again and again.
      const skip = column % (perWord || 32)
      const from = 4 * wordsOf(column - skip, bits, perWord)
      const { address, stride } = rowsAt(state, row, rows, from, 4 * wordsOf(column + columns, bits, perWord) - from)
      const bytes = unpack.numbers('U8')
      return (first, n, to) => {
        const at = address + first * stride
        if (bits === 4) unpack.nibbles(at + (skip >> 1), stride, to, n, columns, skip % 2, 0, state.table)
        else if (bits === 8) bytes(at + skip, stride, to, n, columns)
        else unpack.fields(at, stride, to, n, columns, skip, bits, perWord)
      }
    }
    case 'across': {
      const { order, bits } = codes
      return (first, n, to) => {
        for (let i = 0; i < n; i++) {
          const at = row + first + i
          const words = Math.floor(at / order.length) * state.columns + column
          const address = wordsAt(state, words, words + columns)
          unpack.across(address, to + i * columns * 4, columns, order[at % order.length]! * bits, bits)
        }
      }
    }
  }
}

/** How many rows can be read at once, at least one. */
export function codeRows(state: DecodedState): number {
  const { reader, rowBytes, reading } = state
  if (state.box || reader.form.codes.kind === 'across') return Number.POSITIVE_INFINITY
  const room = reader.parts[0]!.reader.kind === 'contiguous' ? reading.worker.slotRoom : BAND / 2
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
function wordsAt(state: DecodedState, from: number, to: number): number {
  const { band, reader } = state
  if (from < band.from || to > band.to) {
    const total = countOf(reader.parts[0]!)
    const most = BAND / 4
    const sequential = total <= most || (band.to > 0 && from >= band.from && from <= band.to)
    const start = total <= most ? 0 : from
    const end = Math.min(total, sequential ? start + most : Math.max(to, Math.min(start + most, to)))
    band.to = 0
    const codes = reader.parts[0]!.reader
    if (codes.kind === 'strided' && isTransposed(codes)) return transposedAt(state, codes, from, to, sequential)
    bytesOfPart(state, 0, start, end - start, band.address)
    band.from = start
    band.to = end
  }
  return band.address + (from - band.from) * 4
}

/** Whether the words of a column are contiguous in the file, and one row of them fits into the band. */
const isTransposed = ({ shape, strides }: StridedReader): boolean =>
  shape.length === 2 && strides[0] === 1 && shape[1]! * 4 <= BAND / 8

/** Words of whole rows, which are columns in the file. Rows of the file are read in large pieces, or one by one. */
function transposedAt(
  { band, reading }: DecodedState,
  { file, offset, shape, strides }: StridedReader,
  from: number,
  to: number,
  sequential: boolean,
): number {
  const { worker, slot } = reading
  const [rows, columns] = [shape[0]!, shape[1]!]
  const line = strides[1]! * 4
  const first = Math.floor(from / columns)
  const needed = Math.ceil(to / columns) - first
  const most = Math.floor(BAND / 4 / columns)
  const count = Math.min(rows - first, sequential || needed > most ? most : needed)
  const width = count * 4
  // One call for several rows reads what lies between them as well.
  const together = line > CALL + width ? 1 : Math.max(1, Math.floor((worker.slotRoom - width) / line) + 1)
  for (let column = 0; column < columns; column += together) {
    const n = Math.min(together, columns - column)
    const at = slot.at(worker.input(file), offset + column * line + first * 4, (n - 1) * line + width)
    worker.kernels.unpack.transpose(at, line, n, count, band.address + column * 4, columns * 4)
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
  const bytes = Math.min(rowBytes - from, Math.max(to - from, Math.floor(BAND / rows)))
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
