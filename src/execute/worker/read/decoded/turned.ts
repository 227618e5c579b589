/** Transposed matrices of decoded numbers, which are made in strips of columns. */
import { BOX, SCRATCH, STRIP } from '../../../../views/decodeScratch.js'
import type { TurnedReader } from '../../../../views/readers.js'
import type { Reading } from '../reading.js'
import { keepColumns } from './band.js'
import { decodeBox } from './index.js'
import { isPaired, readPaired } from './paired.js'
import { stateOf } from './ready.js'
import type { DecodedState } from './state.js'

/** Rows of a matrix that a strip crosses. */
const MOST_ROWS = 1 << 14
/** Columns of a strip are a multiple of this number, which is that of columns with one scale. */
const COLUMNS = 32

/** A strip that is in the scratch space: some columns of some rows of one matrix. */
interface Strip {
  readonly row: number
  readonly column: number
}

const strips = new WeakMap<DecodedState, Strip>()

/** Puts numbers from row-major index `first` on to an address, as float32. */
export function readTurned(
  reader: TurnedReader,
  reading: Reading,
  first: number,
  count: number,
  address: number,
): void {
  const { worker, scratch } = reading
  const state = stateOf(reader.of, { ...reading, scratch: scratch + SCRATCH + 4 * (STRIP + BOX) })
  if (isPaired(state)) {
    readPaired(state, first, count, address)
    return
  }
  const memory = new Uint8Array(worker.memory.buffer)
  const { height, columns } = state
  const rows = Math.min(height, MOST_ROWS)
  const width = Math.min(columns, Math.max(COLUMNS, Math.floor(STRIP / rows / COLUMNS) * COLUMNS))
  for (let done = 0; done < count; ) {
    const index = first + done
    // The place in the transposed matrix: row `column` of the result has the numbers of that column.
    const row = index % height
    const column = ((index - row) / height) % columns
    const matrix = Math.floor(index / (height * columns))
    const [top, left] = [row - (row % rows), column - (column % width)]
    const n = Math.min(rows, height - top)
    const wanted = Math.floor((count - done) / height)
    // Whole columns that a strip would have to itself are put where they belong.
    if (row === 0 && n === height && wanted > 0 && column % COLUMNS === 0 && !hasStrip(state, matrix * height, left)) {
      const whole = Math.min(wanted - (wanted % COLUMNS), columns - column, width)
      if (whole > 0) {
        turn(state, scratch + SCRATCH + 4 * STRIP, matrix * height, height, column, whole, address + done * 4)
        done += whole * height
        continue
      }
    }
    const strip = stripAt(state, scratch + SCRATCH, matrix * height + top, n, left, Math.min(width, columns - left))
    const from = (column - left) * n + (row - top)
    // Whole columns follow each other if the strip has all rows.
    const most = n === height ? Math.min(width, columns - left) * n - from : n - (row - top)
    const length = Math.min(count - done, most)
    memory.copyWithin(address + done * 4, strip + from * 4, strip + (from + length) * 4)
    done += length
  }
}

const hasStrip = (state: DecodedState, row: number, column: number): boolean => {
  const known = strips.get(state)
  return known?.row === row && known.column === column
}

/** The address of a strip, column by column. */
function stripAt(
  state: DecodedState,
  address: number,
  row: number,
  rows: number,
  column: number,
  columns: number,
): number {
  if (hasStrip(state, row, column)) return address
  turn(state, address + 4 * STRIP, row, rows, column, columns, address)
  strips.set(state, { row, column })
  return address
}

/** Puts some columns of some rows to an address, column by column. `box`: the address of numbers that are turned at once. */
function turn(
  state: DecodedState,
  box: number,
  row: number,
  rows: number,
  column: number,
  columns: number,
  to: number,
): void {
  const { turn } = state.reading.worker.kernels
  const most = Math.max(1, Math.floor(BOX / columns))
  keepColumns(state, row, rows, column, columns)
  for (let done = 0; done < rows; done += most) {
    const n = Math.min(most, rows - done)
    decodeBox(state, row + done, n, column, columns, box)
    turn[4](box, columns * 4, n, columns, to + done * 4, rows * 4)
  }
}
