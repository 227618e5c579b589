import type { Slot } from '../checkpoints/window.js'
import type { Bench } from './bench.js'
import type { Gather, Leaf } from './program.js'

/**
 * Copies elements of a tensor that is read through permutations, from row-major index `first` on, one after the other to
 * `address`. What lies together on the axes behind the last permuted one is copied as a block.
 */
export function gatherMapped(
  leaf: Leaf,
  slot: Slot,
  bench: Bench,
  first: number,
  count: number,
  address: number,
): void {
  const { elementBytes, gather } = leaf
  if (!gather || count === 0) return
  const { shape, strides, maps } = gather
  const { block, outer } = blockOf(gather)
  const target = new Uint8Array(bench.memory.buffer, address, count * elementBytes)
  const source = sourceOf(leaf, slot, bench)
  const last = outer - 1
  const size = shape[last] ?? 1
  const [stride, map] = [strides[last] ?? 0, maps[last]]
  let done = 0
  while (done < count) {
    const index = Math.floor((first + done) / block)
    const row = placeOf(gather, last, Math.floor(index / size))
    // Along the last permuted axis as far as it goes, so that the other axes are looked at once a row.
    for (let at = index % size; at < size && done < count; at++) {
      const inside = (first + done) % block
      const length = Math.min(block - inside, count - done)
      const place = row + (map ? map[at]! : at) * stride + inside
      source(place, length, target, done * elementBytes)
      done += length
    }
  }
}

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

type Copy = (place: number, length: number, target: Uint8Array, to: number) => void

/** Copies `length` elements that begin at a place of the stored tensor. */
function sourceOf({ file, offset, bytes: extent, elementBytes, memory }: Leaf, slot: Slot, bench: Bench): Copy {
  const copy = (bytes: Uint8Array, from: number, target: Uint8Array, to: number, length: number) => {
    // Short runs, as single elements are, are copied faster by a loop than by a call.
    if (length > SHORT) target.set(bytes.subarray(from, from + length), to)
    else for (let i = 0; i < length; i++) target[to + i] = bytes[from + i]!
  }
  if (memory) {
    const bytes = new Uint8Array(memory.buffer, memory.byteOffset, memory.byteLength)
    return (place, length, target, to) => copy(bytes, place * elementBytes, target, to, length * elementBytes)
  }
  const bytes = new Uint8Array(bench.memory.buffer)
  const input = bench.input(file)
  // A tensor that fits the window is looked up once; of a larger one, and where files are read, each run is.
  if (bench.windows.mode === 'map' && extent <= bench.slotRoom) {
    const base = slot.at(input, offset, extent)
    return (place, length, target, to) => copy(bytes, base + place * elementBytes, target, to, length * elementBytes)
  }
  return (place, length, target, to) => {
    const at = slot.at(input, offset + place * elementBytes, length * elementBytes)
    copy(bytes, at, target, to, length * elementBytes)
  }
}

/** Bytes. */
const SHORT = 16
