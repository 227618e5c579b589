import { CHUNK } from '../../../kernels/types.js'
import type { RowsReader } from '../../../views/readers.js'
import { MEAN_BEFORE, MEANS, ZEROS } from '../../../views/types.js'
import { copySource, type Element, type Reading, SECOND_CHUNK } from './reading.js'

/** Rows of several sources, and how they are read. */
interface Rows {
  readonly reader: RowsReader
  readonly wanted: Element
  readonly reading: Reading
}

/** Puts together elements from rows of several sources, from row-major index `first` on, one after the other to `address`. */
export function readRows(
  reader: RowsReader,
  wanted: Element,
  reading: Reading,
  first: number,
  count: number,
  address: number,
): void {
  const rows: Rows = { reader, wanted, reading }
  const { rowLength, starts, runSources } = reader
  let run = runOf(reader, Math.floor(first / rowLength))
  for (let done = 0; done < count; ) {
    while (starts[run + 1]! * rowLength <= first + done) run++
    const inside = first + done - starts[run]! * rowLength
    const left = Math.min(count - done, (starts[run + 1]! - starts[run]!) * rowLength - inside)
    const isMade = runSources[run] === MEANS || runSources[run] === MEAN_BEFORE
    const n = isMade ? Math.min(left, rowLength - (inside % rowLength)) : left
    put(rows, run, inside, n, address + done * wanted.elementBytes)
    done += n
  }
}

/** Puts elements of one run, from its element `inside` on, to an address; of averaged rows those of one row. */
function put(rows: Rows, run: number, inside: number, n: number, to: number): void {
  const { reader, wanted, reading } = rows
  const { rowLength, runSources, runRows, sources, means } = reader
  const [source, row, column] = [runSources[run]!, runRows[run]!, inside % rowLength]
  if (source >= 0) copySource(reading, wanted, sources[source]!, row * rowLength + inside, n, to)
  else if (source === ZEROS) new Uint8Array(reading.worker.memory.buffer, to, n * wanted.elementBytes).fill(0)
  else if (source === MEANS) average(rows, means[row + (inside - column) / rowLength]!, column, n, to)
  else valuesAt(rows, to, n).set(meanRow(rows, row).subarray(column, column + n))
}

/** The run that a row lies in. */
function runOf({ starts }: RowsReader, row: number): number {
  let [low, high] = [0, starts.length - 1]
  while (high - low > 1) {
    const middle = (low + high) >> 1
    if (starts[middle]! <= row) low = middle
    else high = middle
  }
  return low
}

/** Elements as they are wanted. */
const valuesAt = ({ wanted, reading }: Rows, address: number, n: number): Float32Array | Float64Array =>
  wanted.elementBytes === 8
    ? new Float64Array(reading.worker.memory.buffer, address, n)
    : new Float32Array(reading.worker.memory.buffer, address, n)

/** Averages of one row's elements, from `column` on, added up in float64 in the order of models. */
function average(rows: Rows, places: readonly number[], column: number, count: number, to: number): void {
  const { wanted, reading } = rows
  const { sources, rowLength } = rows.reader
  const part = reading.scratch + SECOND_CHUNK
  for (let done = 0; done < count; done += CHUNK) {
    const n = Math.min(CHUNK, count - done)
    const sums = new Float64Array(n)
    for (let i = 0; i < places.length; i += 2) {
      copySource(reading, wanted, sources[places[i]!]!, places[i + 1]! * rowLength + column + done, n, part)
      const read = valuesAt(rows, part, n)
      for (let at = 0; at < n; at++) sums[at]! += read[at]!
    }
    valuesAt(rows, to + done * wanted.elementBytes, n).set(sums.map((sum) => sum / (places.length / 2)))
  }
}

/** Found once a thread: every row of the result is read for it. */
const meanRows = new WeakMap<RowsReader, Map<number, Float64Array>>()

/** The mean of the rows before row `end`, those that are this mean left out, added up in float64 in their order. */
function meanRow(rows: Rows, end: number): Float64Array {
  const { reader, reading } = rows
  const found = meanRows.get(reader) ?? new Map<number, Float64Array>()
  meanRows.set(reader, found)
  const known = found.get(end)
  if (known) return known
  const { rowLength, starts, runSources } = reader
  const part = reading.scratch + SECOND_CHUNK
  const sums = new Float64Array(rowLength)
  let count = 0
  for (const [run, source] of runSources.entries()) {
    if (source === MEAN_BEFORE) continue
    const last = Math.min(starts[run + 1]!, end)
    for (let row = starts[run]!; row < last; row++, count++)
      for (let column = 0; column < rowLength; column += CHUNK) {
        const n = Math.min(CHUNK, rowLength - column)
        put(rows, run, (row - starts[run]!) * rowLength + column, n, part)
        const read = valuesAt(rows, part, n)
        for (let at = 0; at < n; at++) sums[column + at]! += read[at]!
      }
  }
  const mean = sums.map((sum) => (count === 0 ? 0 : sum / count))
  found.set(end, mean)
  return mean
}
