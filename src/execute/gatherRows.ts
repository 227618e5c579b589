import type { Slot } from '../checkpoints/window.js'
import { CHUNK } from '../kernels/types.js'
import type { Bench } from './bench.js'
import { gatherView } from './gatherView.js'
import type { Leaf, RowGather, RowSource } from './program.js'

/** Bytes before a gathered leaf's room: a chunk of stored elements, and one in the leaf's dtype. */
export const ROWS_SCRATCH = CHUNK * 16

/**
 * Puts together a tensor's elements from rows of several stored ones, from row-major index `first` on, one after the other to
 * `address`, which `ROWS_SCRATCH` bytes of scratch space precede.
 */
export function gatherRows(leaf: Leaf, slot: Slot, bench: Bench, first: number, count: number, address: number): void {
  const { elementBytes, rows } = leaf
  if (!rows || count === 0) return
  const { rowLength, starts, runSources, runRows, sources, means } = rows
  const reader: Reader = { leaf, slot, bench, scratch: address - ROWS_SCRATCH }
  let run = runOf(rows, Math.floor(first / rowLength))
  for (let done = 0; done < count; ) {
    while (starts[run + 1]! * rowLength <= first + done) run++
    const inside = first + done - starts[run]! * rowLength
    const source = runSources[run]!
    const to = address + done * elementBytes
    const column = inside % rowLength
    const left = Math.min(count - done, (starts[run + 1]! - starts[run]!) * rowLength - inside)
    const n = source === -2 ? Math.min(left, rowLength - column) : left
    if (source >= 0) copyRun(reader, sources[source]!, runRows[run]! * rowLength + inside, n, to)
    else if (source === -1) new Uint8Array(bench.memory.buffer, to, n * elementBytes).fill(0)
    else average(reader, rows, means[runRows[run]! + (inside - column) / rowLength]!, column, n, to)
    done += n
  }
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
  readonly bench: Bench
  /** Address of room for a chunk. */
  readonly scratch: number
}

/** Puts `count` elements of one source, from its element `first` on, to an address in the leaf's dtype. */
export function copyRun(
  { leaf, slot, bench, scratch }: Reader,
  source: RowSource,
  first: number,
  count: number,
  to: number,
): void {
  const { kernels, memory } = bench
  const { elementBytes } = leaf
  const { file, offset, dtype, view } = source
  const decode =
    dtype === leaf.dtype || dtype === 'raw' ? undefined : kernels.decode(dtype, elementBytes === 8 ? 'f64' : 'f32')
  const most = decode ? CHUNK : Math.max(1, Math.floor(bench.slotRoom / source.elementBytes))
  for (let done = 0; done < count; done += most) {
    const n = Math.min(most, count - done)
    const target = to + done * elementBytes
    let from = decode ? scratch : target
    if (view) gatherView({ ...source, bytes: 0, digestIn: -1 }, slot, bench, first + done, n, from)
    else from = slot.at(bench.input(file), offset + (first + done) * source.elementBytes, n * source.elementBytes)
    if (decode) decode(from, target, n)
    else if (from !== target) new Uint8Array(memory.buffer).copyWithin(target, from, from + n * elementBytes)
  }
}

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
  const { buffer } = reader.bench.memory
  const part = reader.scratch + CHUNK * 8
  const values = (address: number, n: number) =>
    elementBytes === 8 ? new Float64Array(buffer, address, n) : new Float32Array(buffer, address, n)
  for (let done = 0; done < count; done += CHUNK) {
    const n = Math.min(CHUNK, count - done)
    const sums = new Float64Array(n)
    for (let i = 0; i < places.length; i += 2) {
      copyRun(reader, sources[places[i]!]!, places[i + 1]! * rowLength + column + done, n, part)
      const read = values(part, n)
      for (let at = 0; at < n; at++) sums[at]! += read[at]!
    }
    values(to + done * elementBytes, n).set(sums.map((sum) => sum / (places.length / 2)))
  }
}
