import { CHUNK } from '../../../kernels/types.js'
import type { Slot } from '../../../storage/local/window.js'
import type { Leaf, RowGather, RowSource } from '../../program.js'
import type { WorkerContext } from '../context.js'
import { gatherView } from './strided.js'

/** Bytes before a gathered leaf's room: a chunk of stored elements, and one in the leaf's dtype. */
export const ROWS_SCRATCH = CHUNK * 16

/**
 * Puts together a tensor's elements from rows of several stored ones, from row-major index `first` on, one after the other to
 * `address`, which `ROWS_SCRATCH` bytes of scratch space precede.
 */
export function gatherRows(
  leaf: Leaf,
  slot: Slot,
  worker: WorkerContext,
  first: number,
  count: number,
  address: number,
): void {
  const { elementBytes, rows } = leaf
  if (!rows || count === 0) return
  const { rowLength, starts, runSources } = rows
  const reader: Reader = { leaf, slot, worker, scratch: address - ROWS_SCRATCH }
  let run = runOf(rows, Math.floor(first / rowLength))
  for (let done = 0; done < count; ) {
    while (starts[run + 1]! * rowLength <= first + done) run++
    const inside = first + done - starts[run]! * rowLength
    const left = Math.min(count - done, (starts[run + 1]! - starts[run]!) * rowLength - inside)
    const n = runSources[run]! <= -2 ? Math.min(left, rowLength - (inside % rowLength)) : left
    put(reader, rows, run, inside, n, address + done * elementBytes)
    done += n
  }
}

/** Puts elements of one run, from its element `inside` on, to an address; of averaged rows those of one row. */
function put(reader: Reader, rows: RowGather, run: number, inside: number, n: number, to: number): void {
  const { rowLength, runSources, runRows, sources, means } = rows
  const [source, row, column] = [runSources[run]!, runRows[run]!, inside % rowLength]
  if (source >= 0) copyRun(reader, sources[source]!, row * rowLength + inside, n, to)
  else if (source === -1) new Uint8Array(reader.worker.memory.buffer, to, n * reader.leaf.elementBytes).fill(0)
  else if (source === -2) average(reader, rows, means[row + (inside - column) / rowLength]!, column, n, to)
  else valuesAt(reader, to, n).set(meanRow(reader, rows, row).subarray(column, column + n))
}

/** The run that a row lies in. */
function runOf({ starts }: RowGather, row: number): number {
  let [low, high] = [0, starts.length - 1]
  while (high - low > 1) {
    const middle = (low + high) >> 1
    if (starts[middle]! <= row) low = middle
    else high = middle
  }
  return low
}

export interface Reader {
  /** What is wanted. */
  readonly leaf: Pick<Leaf, 'dtype' | 'elementBytes'>
  readonly slot: Slot
  readonly worker: WorkerContext
  /** Address of room for a chunk. */
  readonly scratch: number
}

/** Puts `count` elements of one source, from its element `first` on, to an address in the leaf's dtype. */
export function copyRun(
  { leaf, slot, worker, scratch }: Reader,
  source: RowSource,
  first: number,
  count: number,
  to: number,
): void {
  const { kernels, memory } = worker
  const { elementBytes } = leaf
  const { file, offset, dtype, view } = source
  const decode =
    dtype === leaf.dtype || dtype === 'raw' ? undefined : kernels.decode(dtype, elementBytes === 8 ? 'f64' : 'f32')
  const most = decode ? CHUNK : Math.max(1, Math.floor(worker.slotRoom / source.elementBytes))
  for (let done = 0; done < count; done += most) {
    const n = Math.min(most, count - done)
    const target = to + done * elementBytes
    let from = decode ? scratch : target
    if (view) gatherView({ ...source, bytes: 0, digestIn: -1 }, slot, worker, first + done, n, from)
    else from = slot.at(worker.input(file), offset + (first + done) * source.elementBytes, n * source.elementBytes)
    if (decode) decode(from, target, n)
    else if (from !== target) new Uint8Array(memory.buffer).copyWithin(target, from, from + n * elementBytes)
  }
}

/** Elements in a leaf's dtype. */
const valuesAt = (
  { leaf: { elementBytes }, worker }: Reader,
  address: number,
  n: number,
): Float32Array | Float64Array =>
  elementBytes === 8
    ? new Float64Array(worker.memory.buffer, address, n)
    : new Float32Array(worker.memory.buffer, address, n)

/** Averages of one row's elements, from `column` on, added up in float64 in the order of models. */
function average(
  reader: Reader,
  { sources, rowLength }: RowGather,
  places: readonly number[],
  column: number,
  count: number,
  to: number,
): void {
  const { elementBytes } = reader.leaf
  const part = reader.scratch + CHUNK * 8
  for (let done = 0; done < count; done += CHUNK) {
    const n = Math.min(CHUNK, count - done)
    const sums = new Float64Array(n)
    for (let i = 0; i < places.length; i += 2) {
      copyRun(reader, sources[places[i]!]!, places[i + 1]! * rowLength + column + done, n, part)
      const read = valuesAt(reader, part, n)
      for (let at = 0; at < n; at++) sums[at]! += read[at]!
    }
    valuesAt(reader, to + done * elementBytes, n).set(sums.map((sum) => sum / (places.length / 2)))
  }
}

/** Found once a thread: every row of the result is read for it. */
const meanRows = new WeakMap<RowGather, Map<number, Float64Array>>()

/** The mean of the rows before row `end`, those that are this mean left out, added up in float64 in their order. */
function meanRow(reader: Reader, rows: RowGather, end: number): Float64Array {
  const found = meanRows.get(rows) ?? new Map<number, Float64Array>()
  meanRows.set(rows, found)
  const known = found.get(end)
  if (known) return known
  const { rowLength, starts, runSources } = rows
  const part = reader.scratch + CHUNK * 8
  const sums = new Float64Array(rowLength)
  let count = 0
  for (const [run, source] of runSources.entries()) {
    if (source === -3) continue
    const last = Math.min(starts[run + 1]!, end)
    for (let row = starts[run]!; row < last; row++, count++)
      for (let column = 0; column < rowLength; column += CHUNK) {
        const n = Math.min(CHUNK, rowLength - column)
        put(reader, rows, run, (row - starts[run]!) * rowLength + column, n, part)
        const read = valuesAt(reader, part, n)
        for (let at = 0; at < n; at++) sums[column + at]! += read[at]!
      }
  }
  const mean = sums.map((sum) => (count === 0 ? 0 : sum / count))
  found.set(end, mean)
  return mean
}
