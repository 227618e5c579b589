import { copyStrided, stridedSpan } from '../../../checkpoints/containers/pytorch/strided.js'
import type { Slot } from '../../../storage/local/window.js'
import type { Leaf } from '../../program.js'
import type { WorkerContext } from '../context.js'
import { gatherSpread } from './spread.js'

/** Elements in the file for each that is wanted, up to which all of them are read. */
const DENSE = 4

/**
 * Copies elements of a view, from row-major index `first` on, one after the other to `address`. Where they are spread
 * over more of a mapped file than a slot can show, they come in halves, and halves of these.
 */
export function gatherView(
  leaf: Leaf,
  slot: Slot,
  worker: WorkerContext,
  first: number,
  count: number,
  address: number,
): void {
  if (count === 0 || !leaf.view) return
  const { elementBytes } = leaf
  const { shape, strides } = leaf.view
  const [from, to] = stridedSpan(shape, strides, first, count)
  const fits = (to - from) * elementBytes <= worker.slotRoom
  if (worker.windows.mode === 'read' && (!fits || to - from > DENSE * count)) {
    gatherSpread(leaf, { shape, strides, maps: shape.map(() => null) }, slot, worker, first, count, address)
    return
  }
  if (!fits && count > 1) {
    const half = Math.floor(count / 2)
    gatherView(leaf, slot, worker, first, half, address)
    gatherView(leaf, slot, worker, first + half, count - half, address + half * elementBytes)
    return
  }
  const at = slot.at(worker.input(leaf.file), leaf.offset + from * elementBytes, (to - from) * elementBytes)
  const source = new Uint8Array(worker.memory.buffer, at, (to - from) * elementBytes)
  const target = new Uint8Array(worker.memory.buffer, address, count * elementBytes)
  copyStrided(source, elementBytes, shape, strides, first, count, target, from)
}
