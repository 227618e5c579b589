/** Numbers that are computed from codes: `(code − zero) · scale` in float32. */
import { MOST_GROUPS } from '../../../../views/decodeForm.js'
import { SCALES } from '../../../../views/decodeScratch.js'
import type { DecodedReader } from '../../../../views/readers.js'
import type { Reading } from '../reading.js'
import { codeRows, unpackCodes } from './codes.js'
import { stateOf } from './ready.js'
import { scaleRowOf, scalesAt } from './scales.js'
import type { DecodedState } from './state.js'

/** Numbers of one row that are made at once. */
const COLUMNS = 1 << 18

/** Puts numbers from row-major index `first` on to an address, as float32. */
export function readDecoded(
  reader: DecodedReader,
  reading: Reading,
  first: number,
  count: number,
  address: number,
): void {
  const state = stateOf(reader, reading)
  const { columns } = state
  for (let done = 0; done < count; ) {
    const column = (first + done) % columns
    const row = (first + done - column) / columns
    const whole = column === 0 ? Math.floor((count - done) / columns) : 0
    const width = Math.min(columns - column, count - done)
    const rows = Math.max(1, whole)
    decodeBox(state, row, rows, column, width, address + done * 4)
    done += rows * width
  }
}

/** Puts the numbers of some rows and columns to an address, row by row. */
export function decodeBox(
  state: DecodedState,
  row: number,
  rows: number,
  column: number,
  columns: number,
  to: number,
): void {
  const { groups, block } = state.reader.form
  const most = groups > MOST_GROUPS ? Math.min(COLUMNS, (MOST_GROUPS - 1) * block[1]) : COLUMNS
  if (columns > most && rows > 1) {
    for (let i = 0; i < rows; i++) decodeBox(state, row + i, 1, column, columns, to + i * columns * 4)
    return
  }
  if (columns > most) {
    for (let at = 0; at < columns; at += most)
      decodeBox(state, row, 1, column + at, Math.min(most, columns - at), to + at * 4)
    return
  }
  for (let done = 0; done < rows; ) {
    const n = Math.min(rows - done, codeRows(state), rowsOfScales(state, row + done))
    decodeRows(state, row + done, n, column, columns, to + done * columns * 4)
    done += n
  }
}

/** How many rows from `row` on have scales that fit into the cache together. */
function rowsOfScales(state: DecodedState, row: number): number {
  const { height, reader } = state
  const { groups, block } = reader.form
  if (groups > MOST_GROUPS) return 1
  // Zero points are read in words that several rows share, so half of the cache is for rows at its borders.
  const scaleRows = Math.max(1, Math.floor(SCALES / 2 / Math.max(1, groups)))
  const inside = (row % height) % block[0]
  return Math.min(height - (row % height), scaleRows * block[0] - inside)
}

function decodeRows(state: DecodedState, row: number, rows: number, column: number, columns: number, to: number): void {
  const { scales, zeros, reader, reading } = state
  const { groups, block } = reader.form
  const { unpack } = reading.worker.kernels
  const mapped = state.groups
  // Only the scales of these columns if a row has very many.
  const part = groups > MOST_GROUPS && mapped === undefined
  const firstGroup = mapped === undefined ? Math.floor(column / block[1]) : 0
  const endGroup = mapped === undefined ? Math.ceil((column + columns) / block[1]) : groups
  const top = scaleRowOf(state, row) * groups
  const bottom = scaleRowOf(state, row + rows - 1) * groups
  // Scales come first: they and the codes share a window on the files.
  const start = part ? scalesAt(state, top + firstGroup, top + endGroup) : scalesAt(state, top, bottom + groups)
  unpackCodes(state, row, rows, column, columns, to)
  for (let done = 0; done < rows; ) {
    const scaleRow = scaleRowOf(state, row + done) * groups
    const inside = ((row + done) % state.height) % block[0]
    const n = block[0] === 1 ? rows - done : Math.min(rows - done, block[0] - inside)
    const at = 4 * (start + (part ? 0 : scaleRow - top + firstGroup))
    const [scale, zero] = [scales.address + at, zeros === undefined ? 0 : zeros + at]
    const x = to + done * columns * 4
    const stride = block[0] === 1 ? groups * 4 : 0
    if (mapped !== undefined) unpack.scaleMapped(x, n, columns, scale, zero, stride, mapped + column * 4)
    else if (block[1] === 1) unpack.scaleEach(x, n, columns, scale, zero, stride)
    else unpack.scaleRuns(x, n, columns, scale, zero, stride, column % block[1], block[1])
    done += n
  }
}
