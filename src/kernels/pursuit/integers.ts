/** Rows as integers of 16 bits: their layout, and bounds on what their products leave out. */
import { sharedDoubles, sharedFloats } from '../../core/collections/sharedArrays.js'
import type { DenseKernels, Memory } from './memory.js'
import type { Integers, RowsTask } from './types.js'

/** Half of the last place of a number in float32, as a share. */
export const ULP = 2 ** -24

/** Columns that are added up as integers: a lane has a quarter of them. */
const CHUNK = 256
/** Rows in a panel. */
export const PANEL = 4
/** A lane's sum of squares stays below 2³¹, rounding included. */
const LANE = 46340 - 8
/** The largest integer. */
export const MOST = 32767
/** Cosines of ±1 are these integers: there is room for errors of 2 %. */
export const ONE = 32000

/** Columns that are turned together: a power of two. */
function blockOf(width: number): number {
  let block = 4096
  while (block > 1 && Math.ceil(width / block) * block > width + width / 32) block /= 2
  return block
}

/** Columns of the integers, with padding. */
function depthOf(width: number): number {
  const unit = Math.max(8, blockOf(width))
  return Math.ceil(width / unit) * unit
}

/** What rounding makes of a cosine that is computed from integers in float32, at most. */
export const roundingOf = (width: number): number => (9 + depthOf(width) / CHUNK) * ULP

const panelNumbers = (width: number): number => PANEL * depthOf(width)

/** Room for so many rows. */
export function integersOf(count: number, width: number): Integers {
  const rows = Math.ceil(count / PANEL) * PANEL
  return {
    values: new Int16Array(new SharedArrayBuffer(2 * depthOf(width) * rows)),
    scales: sharedFloats(rows),
    errors: sharedDoubles(rows),
  }
}

export const integersBytes = (count: number, width: number): number => (2 * depthOf(width) + 12) * (count + PANEL)

/** Panels lie so far apart in a thread's memory: not at the same places of its caches. */
export const pitchOf = (width: number): number => 2 * panelNumbers(width) + 2112

/** A memory's room for rows that become integers. */
export interface RowRoom {
  readonly kernels: DenseKernels
  /** Room for `depthOf(width)` float64 numbers and as many signs. */
  readonly turnedAt: number
  readonly turned: Float64Array
  readonly signsAt: number
}

export const rowRoomBytes = (width: number): number => 9 * depthOf(width) + 64

/** A room at an address; it stays until the memory is laid out again. */
export function rowRoom(kernels: DenseKernels, buffer: ArrayBufferLike, at: number, width: number): RowRoom {
  const depth = depthOf(width)
  const signsAt = at + 8 * depth
  const signs = new Int8Array(buffer, signsAt, depth)
  // Any fixed signs will do: without them, equal numbers would come together in one place.
  let state = 0x9e3779b9
  for (let i = 0; i < depth; i++) {
    state = Math.imul(state ^ (state >>> 15), 0x2c1b3c6d) + 0x6d2b79f5
    signs[i] = (state >>> 17) & 1 ? 1 : -1
  }
  return { kernels, turnedAt: at, turned: new Float64Array(buffer, at, depth), signsAt }
}

/**
 * Turns the row in a room, of this norm, and writes it into a panel. Returns the worth of an integer and what is left out, as shares of
 * the norm.
 */
export function writeRow(
  { kernels, turnedAt, signsAt }: RowRoom,
  width: number,
  norm: number,
  panel: number,
  row: number,
): { readonly scale: number; readonly error: number } {
  const [depth, block] = [depthOf(width), blockOf(width)]
  kernels.spread(turnedAt, depth, block, signsAt)
  const peak = kernels.largest(turnedAt, depth)
  const lane = Math.sqrt(kernels.laneSquares(turnedAt, depth, CHUNK))
  const scale = Math.min(MOST / peak, LANE / lane)
  const left = kernels.quantise(turnedAt, depth, scale, panel, row)
  const worth = 1 / (scale * Math.sqrt(block) * norm)
  return { scale: worth, error: Math.sqrt(left) * worth * (1 + 1e-9) + 1e-12 }
}

/** Whether a row of this squared norm has integers. */
export const hasIntegers = (square: number): boolean => square > 0 && square < Number.POSITIVE_INFINITY

/** Makes rows of a dictionary until none is left. */
export function makeRows(memory: Memory, task: RowsTask): void {
  const { from, first, rows, dictionary, integers, next } = task
  const { width, squares } = dictionary
  const numbers = panelNumbers(width)
  const { at, buffer } = memory.layOut([rowRoomBytes(width), 2 * numbers])
  const [roomAt, panelAt] = at as [number, number]
  const room = rowRoom(memory.kernels, buffer, roomAt, width)
  const panel = new Int16Array(buffer, panelAt, numbers)
  const row = (index: number, place: number): void => {
    const own = from.subarray(index * width, (index + 1) * width)
    copyExact(dictionary, first + index, own)
    room.turned.fill(0)
    room.turned.set(own)
    const square = memory.kernels.dot(roomAt, roomAt, width)
    squares[first + index] = Number.isFinite(square) ? square : Number.NaN
    if (!hasIntegers(square)) return
    const { scale, error } = writeRow(room, width, Math.sqrt(square), panelAt, place)
    integers.scales[first + index] = scale
    integers.errors[first + index] = error
  }
  const panels = Math.ceil(rows / PANEL)
  for (let at = Atomics.add(next, 0, 1); at < panels; at = Atomics.add(next, 0, 1)) {
    panel.fill(0)
    for (let i = 0; i < PANEL && at * PANEL + i < rows; i++) row(at * PANEL + i, i)
    integers.values.set(panel, (first / PANEL + at) * numbers)
  }
}

function copyExact({ rows, width }: RowsTask['dictionary'], row: number, own: Float32Array): void {
  if (rows instanceof Float32Array) {
    rows.set(own, row * width)
    return
  }
  const bits = new Uint32Array(own.buffer, own.byteOffset, width)
  for (let i = 0; i < width; i++) {
    if ((bits[i]! & 0xffff) !== 0) throw new Error('internal: a row of 16-bit numbers has other numbers')
    rows[row * width + i] = bits[i]! >>> 16
  }
}

/** C = A · Bᵀ, from panels; C has a row of `stride` bytes for each row of A. */
export function multiplyPanels(
  { multiplyIntegers }: DenseKernels,
  width: number,
  [a, m]: readonly [at: number, rows: number],
  [b, n]: readonly [at: number, rows: number],
  c: number,
  stride: number,
): void {
  const [depth, pitch] = [depthOf(width), pitchOf(width)]
  for (let from = 0; from < depth; from += CHUNK) {
    const offset = 2 * PANEL * from
    multiplyIntegers(a + offset, pitch, b + offset, pitch, c, m, n, Math.min(CHUNK, depth - from), stride)
  }
}

/** Copies panels into a thread's memory. Returns the rows that are there. */
export function loadPanels(
  { values }: Integers,
  width: number,
  first: number,
  rows: number,
  buffer: ArrayBufferLike,
  at: number,
): number {
  const numbers = panelNumbers(width)
  const panels = Math.ceil(rows / PANEL)
  for (let i = 0; i < panels; i++) {
    const from = (first / PANEL + i) * numbers
    new Int16Array(buffer, at + i * pitchOf(width), numbers).set(values.subarray(from, from + numbers))
  }
  return panels * PANEL
}
