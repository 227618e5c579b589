import { boxesOf } from '../../../views/boxes.js'
import { SCRATCH } from '../../../views/decodeScratch.js'
import type { AxisPlaces, PickedReader, Source } from '../../../views/readers.js'
import { copyBytes, copyPlaces, rowExtent } from './places.js'
import type { Reading } from './reading.js'

/** Copies elements of another reader, from row-major index `first` on, one after the other to `address`. */
export function readPicked(
  reader: PickedReader,
  { dtype, elementBytes }: Source,
  reading: Reading,
  first: number,
  count: number,
  address: number,
): void {
  const { of, start } = reader
  const { within, worker } = reading
  if (of.kind === 'memory' && of.values && !('fd' in of.values)) {
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
  if (isScattered(reader)) {
    readLines(reader, source, reading, first, count, address)
    return
  }
  copyPlaces(reader, first, count, (row) => (place, length, to) => {
    within(source, start + row + place, length, address + to * elementBytes)
  })
}

/** Whether single elements along the last axis lie apart, but within a row of the other reader. */
function isScattered(reader: AxisPlaces): boolean {
  const last = reader.shape.length - 1
  return last >= 0 && reader.maps[last] !== null && reader.strides[last] === 1 && rowExtent(reader) > 1
}

/** Reads a line of the other reader at once, and picks elements out of it. */
function readLines(
  reader: PickedReader,
  source: Source,
  { within, worker, scratch }: Reading,
  first: number,
  count: number,
  address: number,
): void {
  const { start, shape, strides, maps } = reader
  const { elementBytes } = source
  const last = shape.length - 1
  const all = new Uint8Array(worker.memory.buffer)
  const most = SCRATCH / elementBytes
  let to = address
  for (const { starts, sizes } of boxesOf(shape, first, count)) {
    const places = maps[last]!.subarray(starts[last]!, starts[last]! + sizes[last]!)
    const [low, high] = [places.reduce((a, b) => Math.min(a, b)), places.reduce((a, b) => Math.max(a, b))]
    const lines = sizes.slice(0, last).reduce((product, size) => product * size, 1)
    for (let line = 0; line < lines; line++, to += places.length * elementBytes) {
      let [from, rest] = [start, line]
      for (let axis = last - 1; axis >= 0; axis--) {
        const at = starts[axis]! + (rest % sizes[axis]!)
        rest = Math.floor(rest / sizes[axis]!)
        from += (maps[axis]?.[at] ?? at) * strides[axis]!
      }
      for (let left = low; left <= high; left += most) {
        const n = Math.min(most, high - left + 1)
        within(source, from + left, n, scratch)
        for (const [index, place] of places.entries())
          if (place >= left && place < left + n)
            copyBytes(all, scratch + (place - left) * elementBytes, elementBytes, all, to + index * elementBytes)
      }
    }
  }
}
