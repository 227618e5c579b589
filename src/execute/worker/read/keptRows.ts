/** Rows of transposed matrices that a worker keeps: each leaf of the program under way has its own places. */
import type { Slot } from '../../../storage/local/window.js'
import { keptFor, keptParts, partBytes, type Turned } from '../../../views/transposed.js'
import type { Program } from '../../program.js'

/** Rows of what one reader transposes, one after the other. */
export interface Band {
  of: Turned | undefined
  row: number
  rows: number
  readonly address: number
}

/** The bands of a leaf. The one that was used last comes last. */
export interface Bands {
  readonly list: Band[]
  /** Of each. */
  readonly bytes: number
}

/** How the bytes for rows are divided among the leaves of a program. */
export interface Division {
  /** By leaf, how many bands it has. */
  readonly counts: readonly number[]
  /** Of each band. */
  readonly bytes: number
}

export interface KeptRows {
  /** Bytes for all rows. */
  readonly bytes: number
  /** A program begins: what was kept for another one is lost. */
  begin(division: Division): void
  /** The bands of the leaf that a slot belongs to; undefined if it has none. */
  of(slot: Slot): Bands | undefined
}

export function openKeptRows(slots: readonly Slot[], address: number, bytes: number): KeptRows {
  const bySlot = new Map<Slot, Bands>()
  return {
    bytes,
    begin({ counts, bytes }) {
      bySlot.clear()
      let next = address
      for (const [leaf, count] of counts.entries()) {
        if (count === 0) continue
        const list = Array.from({ length: count }, (_, at) => ({
          of: undefined,
          row: 0,
          rows: 0,
          address: next + at * bytes,
        }))
        next += count * bytes
        bySlot.set(slots[leaf]!, { list, bytes })
      }
    },
    of: (slot) => bySlot.get(slot),
  }
}

/** Divides `most` bytes at most. */
export function divisionFor({ leaves, nodes }: Program, most: number): Division {
  const counts = leaves.map(keptParts)
  for (const node of nodes)
    if (node.kind === 'lora')
      for (const { source, leaf, times, core } of [node.left, node.right].filter((factor) => factor !== undefined))
        for (const one of [{ source, leaf }, times, core])
          if (one) counts[one.leaf] = Math.max(counts[one.leaf]!, keptParts(one.source))
  const all = counts.reduce((sum, count) => sum + count, 0)
  return { counts, bytes: partBytes(all, keptFor(leaves, most)) }
}
