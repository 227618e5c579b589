/**
 * Transposed matrices of halves of bytes with powers of 2 as scales: MXFP4 as gpt-oss has it. Their bytes are transposed
 * as they are. Then each row of bytes has the codes of two rows of the result, and a row of scales belongs to 32 of them.
 */
import { SCALES } from '../../../../views/decodeScratch.js'
import type { ContiguousReader } from '../../../../views/readers.js'
import { refuseWrong } from './scales.js'
import type { DecodedState } from './state.js'

/** Columns that share a scale, and their bytes. */
const GROUP = 32
const BYTES = GROUP / 2
/** Rows that are transposed together. */
const SQUARE = 16
/** Most bytes of a row of codes: many rows are read at once. */
const ROW = 1 << 16

/** The columns of a matrix that are in the band, and the group whose scales are in the cache. */
interface Kept {
  readonly matrix: number
  readonly column: number
  readonly columns: number
  group: number
}

const bands = new WeakMap<DecodedState, Kept>()

/** Whether matrices can be read in this way. */
export function isPaired(state: DecodedState): boolean {
  const { reader, columns, height, rowBytes, zeros, groups } = state
  const { codes, scale, block } = reader.form
  if (codes.kind !== 'nibbles' || codes.first !== 'low' || codes.table !== 'E2M1') return false
  if (scale.form.kind !== 'exponent' || scale.by || zeros !== undefined || groups !== undefined) return false
  if (block[0] !== 1 || block[1] !== GROUP || columns % GROUP !== 0) return false
  if (height > SCALES || rowBytes > ROW || columnsIn(state) === 0) return false
  return [0, scale.part].every((part) => reader.parts[part]!.reader.kind === 'contiguous')
}

/** Bytes from one row of the band to the next. Rows a power of 2 apart would share a place in the cache. */
const strideOf = ({ height }: DecodedState): number => Math.ceil(height / 64) * 64 + 64

/** Columns that fit into the band with their scales. */
const columnsIn = (state: DecodedState): number =>
  Math.floor(state.reading.worker.bandBytes / strideOf(state) / (BYTES + 1)) * GROUP

/** Puts numbers of the transposed matrices, from row-major index `first` on, to an address. */
export function readPaired(state: DecodedState, first: number, count: number, address: number): void {
  const { height, columns, band, scales, table, reading } = state
  const { unpack } = reading.worker.kernels
  const stride = strideOf(state)
  for (let done = 0; done < count; ) {
    const index = first + done
    const row = index % height
    const column = ((index - row) / height) % columns
    const kept = keep(state, Math.floor(index / (height * columns)), column)
    loadScales(state, kept, Math.floor(column / GROUP))
    const whole = row === 0 ? Math.floor((count - done) / height) : 0
    const n = Math.max(1, Math.min(whole, GROUP - (column % GROUP)))
    const width = whole > 0 ? height : Math.min(height - row, count - done)
    const inside = column - kept.column
    const from = band.address + Math.floor(inside / 2) * stride + row
    unpack.paired(from, stride, address + done * 4, n, width, scales.address + 4 * row, inside % 2, table)
    done += n * width
  }
}

/** Makes a column of a matrix available, and as many columns after it as there is room for. */
function keep(state: DecodedState, matrix: number, column: number): Kept {
  const known = bands.get(state)
  if (known?.matrix === matrix && column >= known.column && column < known.column + known.columns) return known
  const { columns, rowBytes, reader, band } = state
  const most = columnsIn(state)
  const start = most >= columns ? 0 : column - (column % GROUP)
  const n = Math.min(most, columns - start)
  bands.delete(state)
  turn(state, 0, rowBytes, matrix, start / 2, n / 2, band.address)
  turn(state, reader.form.scale.part, columns / GROUP, matrix, start / GROUP, n / GROUP, scalesAt(state, n))
  const made = { matrix, column: start, columns: n, group: -1 }
  bands.set(state, made)
  return made
}

/** Where the bytes of scales are that belong to so many columns in the band. */
const scalesAt = (state: DecodedState, columns: number): number => state.band.address + (columns / 2) * strideOf(state)

/** Puts bytes `from` on of each row of a part of a matrix to an address, as columns. `line`: bytes of a row. */
function turn(
  state: DecodedState,
  part: number,
  line: number,
  matrix: number,
  from: number,
  bytes: number,
  to: number,
): void {
  const { reader, reading, height } = state
  const { worker, slot } = reading
  const { file, offset } = reader.parts[part]!.reader as ContiguousReader
  const room = Math.floor((worker.slotRoom - bytes) / line) + 1
  const most = Math.max(1, room - (room % SQUARE))
  for (let row = 0; row < height; row += most) {
    const n = Math.min(most, height - row)
    const at = slot.at(worker.input(file), offset + (matrix * height + row) * line + from, (n - 1) * line + bytes)
    worker.kernels.turn[1](at, line, n, bytes, to + row, strideOf(state))
  }
}

/** Makes the scales of a group of columns available. */
function loadScales(state: DecodedState, kept: Kept, group: number): void {
  if (kept.group === group) return
  const { height, columns, scales, reading } = state
  const from = scalesAt(state, kept.columns) + (group - kept.column / GROUP) * strideOf(state)
  kept.group = -1
  reading.worker.kernels.unpack.exponents(from, height, scales.address, 1, height)
  const made = new Float32Array(reading.worker.memory.buffer, scales.address, height)
  refuseWrong(state, made, (row) => (kept.matrix * height + row) * (columns / GROUP) + group)
  kept.group = group
}
