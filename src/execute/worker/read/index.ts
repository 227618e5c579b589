import type { Slot } from '../../../storage/local/window.js'
import type { Leaf } from '../../program.js'
import type { WorkerContext } from '../context.js'
import { fetchHeld } from '../held.js'
import { gatherMapped } from './permuted.js'
import { gatherRows } from './rows.js'
import { gatherView } from './strided.js'

/**
 * Puts a leaf's elements, from row-major index `first` on, one after the other to `address` where they do not lie so in a
 * file; false where they do, and nothing is to be done.
 */
export function fetchGathered(
  leaf: Leaf,
  slot: Slot,
  worker: WorkerContext,
  first: number,
  count: number,
  address: number,
): boolean {
  if (leaf.rows) gatherRows(leaf, slot, worker, first, count, address)
  else if (leaf.gather) gatherMapped(leaf, slot, worker, first, count, address)
  else if (leaf.held !== undefined) fetchHeld(worker, leaf.held, leaf.elementBytes, first, count, address)
  else if (leaf.memory) {
    const { buffer, byteOffset } = leaf.memory
    const [start, bytes] = [byteOffset + first * leaf.elementBytes, count * leaf.elementBytes]
    new Uint8Array(worker.memory.buffer, address, bytes).set(new Uint8Array(buffer, start, bytes))
  } else if (leaf.view) gatherView(leaf, slot, worker, first, count, address)
  else return false
  return true
}
