import type { StridedReader } from '../../../views/readers.js'
import { copyStrided, stridedSpan } from '../../../views/strided.js'
import type { Reading } from './reading.js'
import { readSpread } from './spread.js'

/** Elements in the file for each that is wanted, up to which all of them are read. */
const DENSE = 4

/**
 * Copies elements with strides, from row-major index `first` on, one after the other to `address`. Where they are spread
 * over more of a mapped file than a slot can show, they come in halves, and halves of these.
 */
export function readStrided(
  reader: StridedReader,
  elementBytes: number,
  reading: Reading,
  first: number,
  count: number,
  address: number,
): void {
  if (count === 0) return
  const { file, offset, shape, strides } = reader
  const { worker, slot } = reading
  const [from, to] = stridedSpan(shape, strides, first, count)
  const fits = (to - from) * elementBytes <= worker.slotRoom
  const spread = !fits || to - from > DENSE * count
  if (worker.windows.mode === 'read' && spread) {
    const maps = shape.map(() => null)
    readSpread({ file, offset, shape, strides, maps }, elementBytes, reading, first, count, address)
    return
  }
  if (!fits && count > 1) {
    const half = Math.floor(count / 2)
    readStrided(reader, elementBytes, reading, first, half, address)
    readStrided(reader, elementBytes, reading, first + half, count - half, address + half * elementBytes)
    return
  }
  const at = slot.at(worker.input(file), offset + from * elementBytes, (to - from) * elementBytes)
  const source = new Uint8Array(worker.memory.buffer, at, (to - from) * elementBytes)
  const target = new Uint8Array(worker.memory.buffer, address, count * elementBytes)
  copyStrided(source, elementBytes, shape, strides, first, count, target, from)
}
