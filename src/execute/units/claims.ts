import type { TileRecord } from '../tiles/records.js'
import type { UnitRecord } from './records.js'

/**
 * Records of an earlier run or another part. They are only claims: a unit reuses a record only if the digests of the
 * unit's inputs and outputs, computed again, match the record. Paths, inodes and times do not count.
 */
export interface Claims {
  readonly isEmpty: boolean
  /** Whether there is a record with this key, so that reading the unit's inputs and outputs again is worthwhile. */
  has(key: string): boolean
  find(made: Pick<UnitRecord, 'key' | 'inputs' | 'outputs'>): UnitRecord | undefined
  /** Whether tensors were under way. */
  readonly hasTiles: boolean
  /** What is recorded of the tensor with this key that was under way. */
  tiles(key: string): readonly TileRecord[]
}

export function claimsOf(records: Iterable<UnitRecord>, tiles: readonly TileRecord[] = []): Claims {
  const byKey = new Map<string, UnitRecord[]>()
  for (const record of records) {
    const same = byKey.get(record.key)
    if (same) same.push(record)
    else byKey.set(record.key, [record])
  }
  const tilesByKey = new Map<string, TileRecord[]>()
  for (const record of tiles) {
    const same = tilesByKey.get(record.key)
    if (same) same.push(record)
    else tilesByKey.set(record.key, [record])
  }
  return {
    hasTiles: tiles.length > 0,
    tiles: (key) => tilesByKey.get(key) ?? [],
    isEmpty: byKey.size === 0,
    has: (key) => byKey.has(key),
    find: ({ key, inputs, outputs }) =>
      byKey.get(key)?.find((record) => areEqual(record.inputs, inputs) && areEqual(record.outputs, outputs)),
  }
}

const areEqual = (a: readonly unknown[], b: readonly unknown[]): boolean =>
  a.length === b.length && a.every((each, index) => each !== null && each === b[index])
