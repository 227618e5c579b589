import type { Slot } from '../../../storage/local/window.js'
import { rowMajor } from '../../compile/storedPlaces.js'
import type { Gather, Leaf } from '../../program.js'
import type { WorkerContext } from '../context.js'
import { gatherSpread } from './spread.js'

/**
 * Copies elements of a tensor that is read through permutations, from row-major index `first` on, one after the other to
 * `address`. What lies together on the axes behind the last permuted one is copied as a block.
 */
export function gatherMapped(
  leaf: Leaf,
  slot: Slot,
  worker: WorkerContext,
  first: number,
  count: number,
  address: number,
): void {
  const { elementBytes, gather } = leaf
  if (!gather || count === 0) return
  const { shape, strides, maps } = gather
  if (
    !leaf.memory &&
    worker.windows.mode === 'read' &&
    rowMajor(shape).some((stride, axis) => stride !== strides[axis])
  ) {
    gatherSpread(leaf, gather, slot, worker, first, count, address)
    return
  }
  const { block, outer } = blockOf(gather)
  const target = new Uint8Array(worker.memory.buffer, address, count * elementBytes)
  const last = outer - 1
  const size = shape[last] ?? 1
  const [stride, map] = [strides[last] ?? 0, maps[last]]
  const source = sourceOf(leaf, (map ? most(map) : size - 1) * stride + block, slot, worker)
  let done = 0
  while (done < count) {
    const index = Math.floor((first + done) / block)
    const row = source(placeOf(gather, last, Math.floor(index / size)))
    // Along the last permuted axis as far as it goes, so that the other axes are looked at once a row.
    for (let at = index % size; at < size && done < count; at++) {
      const inside = (first + done) % block
      const length = Math.min(block - inside, count - done)
      row((map ? map[at]! : at) * stride + inside, length, target, done * elementBytes)
      done += length
    }
  }
}

const most = (map: Int32Array): number => map.reduce((top, place) => Math.max(top, place), 0)

/** Elements that lie one after the other whatever the permutations, and how many axes stand before those that they fill. */
function blockOf({ shape, strides, maps }: Gather): { block: number; outer: number } {
  let block = 1
  let outer = shape.length
  while (outer > 0 && !maps[outer - 1] && strides[outer - 1] === block) {
    outer--
    block *= shape[outer]!
  }
  return { block, outer }
}

/** Where the elements of an index over the first `axes` axes begin. */
function placeOf({ shape, strides, maps }: Gather, axes: number, index: number): number {
  let rest = index
  let place = 0
  for (let axis = axes - 1; axis >= 0; axis--) {
    const at = rest % shape[axis]!
    rest = (rest - at) / shape[axis]!
    place += (maps[axis]?.[at] ?? at) * strides[axis]!
  }
  return place
}

/** Copies `length` elements that begin at a place of a row. */
type Copy = (place: number, length: number, target: Uint8Array, to: number) => void

/** Makes rows of the stored tensor readable, one at a time: each begins at an element, and is so many elements long at the most. */
function sourceOf(
  { file, offset, bytes: extent, elementBytes, memory }: Leaf,
  rowExtent: number,
  slot: Slot,
  worker: WorkerContext,
): (start: number) => Copy {
  const from = (bytes: Uint8Array, base: number): Copy => {
    return (place, length, target, to) => {
      const [at, size] = [base + place * elementBytes, length * elementBytes]
      // Short runs, as single elements are, are copied faster by a loop than by a call.
      if (size > SHORT) target.set(bytes.subarray(at, at + size), to)
      else for (let i = 0; i < size; i++) target[to + i] = bytes[at + i]!
    }
  }
  if (memory) {
    const bytes = new Uint8Array(memory.buffer, memory.byteOffset, memory.byteLength)
    return (start) => from(bytes, start * elementBytes)
  }
  const bytes = new Uint8Array(worker.memory.buffer)
  const input = worker.input(file)
  // A tensor that is mapped and fits the window is looked up once, a row that fits once a row; of a longer one each run is.
  if (worker.windows.mode === 'map' && extent <= worker.slotRoom) {
    const base = slot.at(input, offset, extent)
    return (start) => from(bytes, base + start * elementBytes)
  }
  if (rowExtent * elementBytes <= worker.slotRoom)
    return (start) => from(bytes, slot.at(input, offset + start * elementBytes, rowExtent * elementBytes))
  return (start) => (place, length, target, to) => {
    const at = slot.at(input, offset + (start + place) * elementBytes, length * elementBytes)
    from(bytes, at)(0, length, target, to)
  }
}

/** Bytes. */
const SHORT = 16
