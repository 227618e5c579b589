/** Numbers that are computed from codes: `(code − zero) · scale` in float32. */
import { MOST_GROUPS } from '../../../../views/decodeForm.js'
import { SCALES } from '../../../../views/decodeScratch.js'
import type { DecodedReader } from '../../../../views/readers.js'
import type { Reading } from '../reading.js'
import { codeRows } from './band.js'
import { findCodes, type Grid } from './codes.js'
import { stateOf } from './ready.js'
import { linesAt, linesIn } from './scaleLines.js'
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
  const { height, reader, lined } = state
  const { groups, block } = reader.form
  if (lined) return linesIn(groups)
  if (groups > MOST_GROUPS && !isBox(state)) return 1
  // Zero points are read in words that several rows share, so half of the cache is for rows at its borders.
  const scaleRows = isBox(state) ? boxRows(state, used) : Math.max(1, Math.floor(SCALES / 2 / Math.max(1, groups)))
  const inside = (row % height) % block[0]
  return Math.min(height - (row % height), scaleRows * block[0] - inside)
}

/** Numbers that are scaled while they are in a near cache. */
const NEAR = 1 << 16

function decodeRows(state: DecodedState, row: number, rows: number, column: number, columns: number, to: number): void {
  const { block } = state.reader.form
  const mapped = state.groups
  // Scales come first: they and the codes share a window on the files.
  const found = scalesFor(state, row, rows, column, columns)
  const decode = findCodes(state, row, rows, column, columns)
  const first = scaleRowOf(state, row)
  const apart = mapped !== undefined || block[1] === 1
  const near = apart ? Math.max(1, Math.floor(NEAR / columns)) : rows
  for (let done = 0; done < rows; ) {
    const inside = ((row + done) % state.height) % block[0]
    const n = Math.min(near, block[0] === 1 ? rows - done : Math.min(rows - done, block[0] - inside))
    const at = (scaleRowOf(state, row + done) - first) * found.line
    const grid = {
      ...found,
      scales: found.scales + at,
      zeros: found.zeros && found.zeros + at,
      line: block[0] === 1 ? found.line : 0,
    }
    const x = to + done * columns * 4
    if (apart) decodeApart(state, () => decode(done, n, x, ones(state)), x, n, columns, grid, column)
    else decode(done, n, x, grid)
    done += n
  }
}

/** A scale of 1 for all. */
const ones = ({ one }: DecodedState): Grid => ({ scales: one, zeros: 0, line: 0, step: 0, first: 0, run: COLUMNS })

/** Numbers whose scales are not those of runs of columns. */
function decodeApart(
  { reading, groups }: DecodedState,
  decode: () => void,
  x: number,
  n: number,
  columns: number,
  { scales, zeros, line, step }: Grid,
  column: number,
): void {
  const { unpack } = reading.worker.kernels
  decode()
  if (groups === undefined) unpack.scaleEach(x, n, columns, scales, zeros, line, step)
  else unpack.scaleMapped(x, n, columns, scales, zeros, line, step, groups + column * 4)
}

/** Where the scales of some rows and columns are. */
function scalesFor(state: DecodedState, row: number, rows: number, column: number, columns: number): Grid {
  const { groups, block } = state.reader.form
  const { groups: mapped, lined } = state
  const first = mapped === undefined ? Math.floor(column / block[1]) : 0
  if (lined) {
    const { start, step } = linesAt(state, row, rows)
    return gridAt(state, start + first * step, 4, step, column)
  }
  const [top, bottom] = [scaleRowOf(state, row), scaleRowOf(state, row + rows - 1)]
  const end = Math.ceil((column + columns) / block[1])
  if (mapped === undefined && isBox(state)) {
    scaleBox(state, top, bottom + 1 - top, first, end - first)
    return gridAt(state, 0, 4 * (end - first), 4, column)
  }
  // Only the scales of these columns if a row has very many.
  const part = groups > MOST_GROUPS && mapped === undefined
  const start = part
    ? scalesAt(state, top * groups + first, top * groups + end)
    : scalesAt(state, top * groups, (bottom + 1) * groups) + first
  return gridAt(state, 4 * start, 4 * groups, 4, column)
}

/** `at`: bytes from the start of the caches. */
const gridAt = ({ scales, zeros, reader }: DecodedState, at: number, line: number, step: number, column: number) => ({
  ...{ scales: scales.address + at, zeros: zeros === undefined ? 0 : zeros + at, line, step },
  first: column % reader.form.block[1],
  run: reader.form.block[1],
})
