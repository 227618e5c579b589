/** Codes of decoded numbers: where they are in memory, and as float32. */
import { isInWords, wordsOf } from '../../../../views/decodeForm.js'
import { BAND } from '../../../../views/decodeScratch.js'
import type { ContiguousReader } from '../../../../views/readers.js'
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
  const room = reader.parts[0]!.reader.kind === 'contiguous' ? reading.worker.slotRoom : BAND
  return Math.max(1, Math.floor(room / Math.max(1, rowBytes)))
}

/** Bytes `from` on of rows of codes: the address of the first row, and the distance to the next. */
function rowsAt(
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
    bytesOfPart(state, 0, start, end - start, band.address)
    band.from = start
    band.to = end
  }
  return band.address + (from - band.from) * 4
}

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
