/** Codes of decoded numbers: where they are in memory, and as float32. */
import { isInWords, wordsOf } from '../../../../views/decodeForm.js'
import { BAND } from '../../../../views/decodeScratch.js'
import type { ContiguousReader } from '../../../../views/readers.js'
import { bytesOfPart, countOf } from './fixed.js'
import type { DecodedState } from './state.js'

/** Puts the codes of rows and columns to an address, as float32 and row by row. The caller limits them to `codeRows`. */
export function unpackCodes(
  state: DecodedState,
  row: number,
  rows: number,
  column: number,
  columns: number,
  to: number,
): void {
  const { codes } = state.reader.form
  const { unpack } = state.reading.worker.kernels
  switch (codes.kind) {
    case 'numbers': {
      const at = rowsAt(state, row, rows, column, columns)
      unpack.numbers(dtypeOf(state))(at.address, at.stride, to, rows, columns)
      return
    }
    case 'nibbles': {
      const from = Math.floor(column / 2)
      const at = rowsAt(state, row, rows, from, Math.ceil((column + columns) / 2) - from)
      const high = codes.first === 'high' ? 1 : 0
      unpack.nibbles(at.address, at.stride, to, rows, columns, column % 2, high, state.table)
      return
    }
    case 'fields': {
      const { bits, perWord } = codes
      // Fields begin at a word again and again.
      const skip = column % (perWord || 32)
      const from = 4 * wordsOf(column - skip, bits, perWord)
      const at = rowsAt(state, row, rows, from, 4 * wordsOf(column + columns, bits, perWord) - from)
      if (bits === 4) unpack.nibbles(at.address + (skip >> 1), at.stride, to, rows, columns, skip % 2, 0, state.table)
      else if (bits === 8) unpack.numbers('U8')(at.address + skip, at.stride, to, rows, columns)
      else unpack.fields(at.address, at.stride, to, rows, columns, skip, bits, perWord)
      return
    }
    case 'across': {
      const { order, bits } = codes
      for (let i = 0; i < rows; i++) {
        const words = Math.floor((row + i) / order.length) * state.columns + column
        const address = wordsAt(state, words, words + columns)
        unpack.across(address, to + i * columns * 4, columns, order[(row + i) % order.length]! * bits, bits)
      }
    }
  }
}

function dtypeOf({ reader }: DecodedState): 'F8_E4M3' | 'F8_E5M2' | 'I8' {
  const { codes } = reader.form
  if (codes.kind !== 'numbers') throw new Error('internal: codes without a dtype')
  return codes.dtype
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
