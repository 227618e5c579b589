import type { PickedReader, Source } from '../../../views/readers.js'
import { copyBytes, copyPlaces } from './places.js'
import type { Reading } from './reading.js'

/** Copies elements of another reader, from row-major index `first` on, one after the other to `address`. */
export function readPicked(
  reader: PickedReader,
  { dtype, elementBytes }: Source,
  { within, worker }: Reading,
  first: number,
  count: number,
  address: number,
): void {
  const { of, start } = reader
  if (of.kind === 'memory' && of.values) {
    // Runs may be single elements, and these are at hand.
    const { buffer, byteOffset, byteLength } = of.values
    const [from, all] = [new Uint8Array(buffer, byteOffset, byteLength), new Uint8Array(worker.memory.buffer)]
    copyPlaces(reader, first, count, (row) => (place, length, to) => {
      const at = (start + row + place) * elementBytes
      copyBytes(from, at, length * elementBytes, all, address + to * elementBytes)
    })
    return
  }
  const source = { reader: of, dtype, elementBytes }
  copyPlaces(reader, first, count, (row) => (place, length, to) => {
    within(source, start + row + place, length, address + to * elementBytes)
  })
}
