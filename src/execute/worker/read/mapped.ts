import { rowMajor } from '../../../views/places.js'
import type { MappedReader } from '../../../views/readers.js'
import { type CopyRun, copyBytes, copyPlaces, rowExtent } from './places.js'
import type { Reading } from './reading.js'
import { readSpread } from './spread.js'

/** Copies elements that are read through permutations, from row-major index `first` on, one after the other to `address`. */
export function readMapped(
  reader: MappedReader,
  elementBytes: number,
  reading: Reading,
  first: number,
  count: number,
  address: number,
): void {
  if (count === 0) return
  const { shape, strides } = reader
  const isSpread = rowMajor(shape).some((stride, axis) => stride !== strides[axis])
  if (reading.worker.windows.mode === 'read' && isSpread)
    readSpread(reader, elementBytes, reading, first, count, address)
  else copyPlaces(reader, first, count, rowsOf(reader, elementBytes, reading, address))
}

/** Makes rows of the stored tensor readable, one at a time. */
function rowsOf(
  reader: MappedReader,
  elementBytes: number,
  { worker, slot }: Reading,
  address: number,
): (start: number) => CopyRun {
  const { file, offset, bytes: extent } = reader
  const all = new Uint8Array(worker.memory.buffer)
  const input = worker.input(file)
  const from = (base: number): CopyRun => {
    return (place, length, to) =>
      copyBytes(all, base + place * elementBytes, length * elementBytes, all, address + to * elementBytes)
  }
  // A tensor that is mapped and fits the window is looked up once, a row that fits once a row; of a longer one each run is.
  if (worker.windows.mode === 'map' && extent <= worker.slotRoom) {
    const base = slot.at(input, offset, extent)
    return (start) => from(base + start * elementBytes)
  }
  const row = rowExtent(reader) * elementBytes
  if (row <= worker.slotRoom) return (start) => from(slot.at(input, offset + start * elementBytes, row))
  return (start) => (place, length, to) => {
    const at = slot.at(input, offset + (start + place) * elementBytes, length * elementBytes)
    from(at)(0, length, to)
  }
}
