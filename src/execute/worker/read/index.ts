/** Reads the elements of a program's leaves: one file for each kind of reader. */
import type { Slot } from '../../../storage/local/window.js'
import { bandReader } from '../../../views/bands.js'
import { decodedBytes, SCRATCH, turnedBytes } from '../../../views/decodeScratch.js'
import type { Reader, Source } from '../../../views/readers.js'
import type { WorkerContext } from '../context.js'
import { endsOf, oneOf, readParts } from './concat.js'
import { readDecoded } from './decoded/index.js'
import { readTurned } from './decoded/turned.js'
import { readMapped } from './mapped.js'
import { readHeld, readMemory } from './memory.js'
import { readPicked } from './picked.js'
import { copySource, type Reading } from './reading.js'
import { readRows } from './rows.js'
import { readStrided } from './strided.js'
import { keptAt, readTransposed } from './transposed.js'

/** Bytes that a reader needs before the elements that it makes. `band`: bytes of each band of codes. */
export const scratchOf = ({ reader }: Source, band: number): number => neededBy(reader, band)

const needs = new WeakMap<Reader, { readonly band: number; readonly bytes: number }>()

function neededBy(reader: Reader, band: number): number {
  const known = needs.get(reader)
  if (known?.band === band) return known.bytes
  const bytes = countNeeded(reader, band)
  needs.set(reader, { band, bytes })
  return bytes
}

function countNeeded(reader: Reader, band: number): number {
  const inner = innerOf(reader)
  return inner.length === 0 && reader.kind !== 'decoded'
    ? 0
    : ownScratch(reader, band) + inner.reduce((most, one) => Math.max(most, neededBy(one, band)), 0)
}

/** Readers that a reader reads with scratch space after its own. */
function innerOf(reader: Reader): readonly Reader[] {
  switch (reader.kind) {
    case 'rows':
      return reader.sources.map((source) => source.reader)
    case 'concat':
      return reader.parts.map(({ source }) => source.reader)
    case 'picked':
      return [reader.of]
    case 'decoded':
      return reader.parts.map((source) => source.reader)
    case 'turned':
      return reader.of.parts.map((source) => source.reader)
    default:
      return []
  }
}

/** What other readers kept in the scratch space that this one is going to use is lost. */
function forget({ worker, scratch }: Reading, reader: Reader): void {
  const { scratchOwners } = worker
  if (scratchOwners.size === 0) return
  const end = scratch + neededBy(reader, worker.bandBytes)
  for (const address of scratchOwners.keys()) if (address >= scratch && address < end) scratchOwners.delete(address)
}

function ownScratch(reader: Reader, band: number): number {
  if (reader.kind === 'decoded') return decodedBytes(bandReader(reader) ? band : 0)
  return reader.kind === 'turned' ? turnedBytes(band) : SCRATCH
}

/**
 * Where elements of a source lie, from row-major index `first` on: in the slot's window where they lie one after the other in a file,
 * or among rows that are kept. All others are put one after the other to `address`, which `scratchOf(source)` bytes of scratch space
 * precede. `end`: the index after the last element that the task needs, if it is known.
 */
export function locate(
  source: Source,
  slot: Slot,
  worker: WorkerContext,
  first: number,
  count: number,
  address: number,
  end: number = Number.POSITIVE_INFINITY,
): number {
  const { reader, elementBytes } = source
  if (reader.kind === 'contiguous')
    return slot.at(worker.input(reader.file), reader.offset + first * elementBytes, count * elementBytes)
  const inside = reader.kind === 'concat' && oneOf(reader, first, count)
  // Most tiles lie within one part, whose elements are not copied then.
  if (inside && inside.source.dtype === source.dtype && count * elementBytes <= worker.slotRoom)
    return locate(
      ...([inside.source, slot, worker, inside.first, count, address] as const),
      endsOf(reader, end)[inside.part]! / inside.source.elementBytes,
    )
  const scratch = address - scratchOf(source, worker.bandBytes)
  const reading = readingWith(worker, slot, scratch, reader, end * elementBytes)
  const kept = keptAt(source, reading, first, count)
  if (kept !== undefined) return kept
  readElements(source, reading, first, count, address)
  return address
}

/** What a reader works with that has scratch space from that address on. */
export function readingWith(
  worker: WorkerContext,
  slot: Slot,
  scratch: number,
  reader?: Reader,
  end: number = Number.POSITIVE_INFINITY,
): Reading {
  const next = scratch + (reader ? ownScratch(reader, worker.bandBytes) : SCRATCH)
  return {
    ...{ worker, slot, scratch, end },
    within: (source, first, count, address, end) =>
      readElements(source, readingWith(worker, slot, next, source.reader, end), first, count, address),
  }
}

function readElements(source: Source, reading: Reading, first: number, count: number, address: number): void {
  if (count === 0 || readTransposed(source, reading, first, count, address)) return
  const { reader, elementBytes } = source
  if (innerOf(reader).length > 0 && reader.kind !== 'decoded' && reader.kind !== 'turned') forget(reading, reader)
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
    case 'decoded':
      readDecoded(reader, reading, first, count, address)
      break
    case 'turned':
      readTurned(reader, reading, first, count, address)
      break
    case 'memory':
      readMemory(reader, elementBytes, reading, first, count, address)
      break
    case 'held':
      readHeld(reader, elementBytes, reading, first, count, address)
      break
  }
}
