/** Numbers that are computed from codes: `(code − zero) · scale` in float32. */
import { MOST_GROUPS } from '../../../../views/decodeForm.js'
import { SCALES } from '../../../../views/decodeScratch.js'
import type { DecodedReader } from '../../../../views/readers.js'
import type { Reading } from '../reading.js'
import { codeRows, findCodes, rowsAt } from './codes.js'
import { stateOf } from './ready.js'
import { boxRows, isBox, scaleBox, scaleRowOf, scalesAt } from './scales.js'
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
  const used = Math.ceil(columns / block[1]) + 1
  for (let done = 0; done < rows; ) {
    const n = Math.min(rows - done, codeRows(state), rowsOfScales(state, row + done, used))
    decodeRows(state, row + done, n, column, columns, to + done * columns * 4)
    done += n
  }
}

/** How many rows from `row` on have scales that fit into the cache together. `used`: scales of each row that are used. */
function rowsOfScales(state: DecodedState, row: number, used: number): number {
  const { height, reader } = state
  const { groups, block } = reader.form
  if (groups > MOST_GROUPS && !isBox(state)) return 1
  // Zero points are read in words that several rows share, so half of the cache is for rows at its borders.
  const scaleRows = isBox(state) ? boxRows(state, used) : Math.max(1, Math.floor(SCALES / 2 / Math.max(1, groups)))
  const inside = (row % height) % block[0]
  return Math.min(height - (row % height), scaleRows * block[0] - inside)
}

/** Bytes of numbers that are scaled while they are in a near cache. */
const NEAR = 1 << 16

/** Rows that are turned at once by their codes. */
const SQUARE = 16

/**
 * Puts columns of some rows to an address as rows, `stride` bytes apart, and returns how many rows it has done: those
 * whose codes can be turned themselves, which is much less work than to turn numbers.
 */
export function turnCodes(
  state: DecodedState,
  row: number,
  rows: number,
  column: number,
  columns: number,
  to: number,
  stride: number,
): number {
  const { codes, block, zero, scale } = state.reader.form
  const { unpack } = state.reading.worker.kernels
  const fits =
    codes.kind === 'nibbles' && codes.first === 'low' && !zero && state.groups === undefined && scale.part !== 0
  if (!fits || block[0] !== 1 || block[1] !== 32 || column % 32 !== 0 || columns % 32 !== 0 || !isBox(state)) return 0
  for (let done = 0; ; ) {
    const n = Math.min(rows - done, rowsOfScales(state, row + done, columns / 32 + 1))
    const whole = n - (n % SQUARE)
    if (whole === 0) return done
    const { start, width } = scalesFor(state, row + done, whole, column, columns)
    const { address, stride: line } = rowsAt(state, row + done, whole, column / 2, columns / 2)
    const scales = state.scales.address + 4 * start
    unpack.turnNibbles(address, line, scales, 4 * width, whole, columns, to + done * 4, stride, state.table)
    done += whole
  }
}

function decodeRows(state: DecodedState, row: number, rows: number, column: number, columns: number, to: number): void {
  const { zeros, reader, reading } = state
  const { block } = reader.form
  const { unpack } = reading.worker.kernels
  const mapped = state.groups
  // Scales come first: they and the codes share a window on the files.
  const found = scalesFor(state, row, rows, column, columns)
  const codes = findCodes(state, row, rows, column, columns)
  const near = Math.max(1, Math.floor(NEAR / (columns * 4)))
  const first = scaleRowOf(state, row)
  for (let done = 0; done < rows; ) {
    const inside = ((row + done) % state.height) % block[0]
    const n = Math.min(near, block[0] === 1 ? rows - done : Math.min(rows - done, block[0] - inside))
    const at = 4 * (found.start + (scaleRowOf(state, row + done) - first) * found.width)
    const [scale, zero] = [state.scales.address + at, zeros === undefined ? 0 : zeros + at]
    const x = to + done * columns * 4
    const stride = block[0] === 1 ? found.width * 4 : 0
    codes(done, n, x)
    if (mapped !== undefined) unpack.scaleMapped(x, n, columns, scale, zero, stride, mapped + column * 4)
    else if (block[1] === 1) unpack.scaleEach(x, n, columns, scale, zero, stride)
    else unpack.scaleRuns(x, n, columns, scale, zero, stride, column % block[1], block[1])
    done += n
  }
}

/** Where the scale of the first row and column is in the cache, in floats, and how far it is to the next row of scales. */
function scalesFor(
  state: DecodedState,
  row: number,
  rows: number,
  column: number,
  columns: number,
): { readonly start: number; readonly width: number } {
  const { groups, block } = state.reader.form
  const [top, bottom] = [scaleRowOf(state, row), scaleRowOf(state, row + rows - 1)]
  if (state.groups !== undefined) return { start: scalesAt(state, top * groups, (bottom + 1) * groups), width: groups }
  const first = Math.floor(column / block[1])
  const end = Math.ceil((column + columns) / block[1])
  if (isBox(state)) {
    scaleBox(state, top, bottom + 1 - top, first, end - first)
    return { start: 0, width: end - first }
  }
  // Only the scales of these columns if a row has very many.
  if (groups > MOST_GROUPS) return { start: scalesAt(state, top * groups + first, top * groups + end), width: groups }
  return { start: scalesAt(state, top * groups, (bottom + 1) * groups) + first, width: groups }
}
