/** Reads the elements of a program's leaves: one file for each kind of reader. */
import type { Slot } from '../../../storage/local/window.js'
import { depthOf, type Source } from '../../../views/readers.js'
import type { WorkerContext } from '../context.js'
import { readParts } from './concat.js'
import { readMapped } from './mapped.js'
import { readHeld, readMemory } from './memory.js'
import { readPicked } from './picked.js'
import { copySource, type Reading, SCRATCH } from './reading.js'
import { readRows } from './rows.js'
import { readStrided } from './strided.js'

/** Bytes that a reader needs before the elements that it makes. */
export const scratchOf = ({ reader }: Source): number => depthOf(reader) * SCRATCH

/**
 * Where elements of a source lie, from row-major index `first` on: in the slot's window where they lie one after the other in a file.
 * All others are put one after the other to `address`, which `scratchOf(source)` bytes of scratch space precede.
 */
export function locate(
  source: Source,
  slot: Slot,
  worker: WorkerContext,
  first: number,
  count: number,
  address: number,
): number {
  const { reader, elementBytes } = source
  if (reader.kind === 'contiguous')
    return slot.at(worker.input(reader.file), reader.offset + first * elementBytes, count * elementBytes)
  readElements(source, readingWith(worker, slot, address - scratchOf(source)), first, count, address)
  return address
}

/** What readers work with who have scratch space from that address on. */
export function readingWith(worker: WorkerContext, slot: Slot, scratch: number): Reading {
  return {
    ...{ worker, slot, scratch },
    within: (source, first, count, address) =>
      readElements(source, readingWith(worker, slot, scratch + SCRATCH), first, count, address),
  }
}

function readElements(source: Source, reading: Reading, first: number, count: number, address: number): void {
  if (count === 0) return
  const { reader, elementBytes } = source
  switch (reader.kind) {
    case 'contiguous':
      copySource(reading, source, source, first, count, address)
      break
    case 'strided':
      readStrided(reader, elementBytes, reading, first, count, address)
      break
    case 'mapped':
      readMapped(reader, elementBytes, reading, first, count, address)
      break
    case 'rows':
      readRows(reader, source, reading, first, count, address)
      break
    case 'concat':
      readParts(reader, source, reading, first, count, address)
      break
    case 'picked':
      readPicked(reader, source, reading, first, count, address)
      break
    case 'memory':
      readMemory(reader, elementBytes, reading, first, count, address)
      break
    case 'held':
      readHeld(reader, elementBytes, reading, first, count, address)
      break
  }
}
