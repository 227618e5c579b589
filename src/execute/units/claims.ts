import type { UnitRecord } from './records.js'

/**
 * Records that an earlier run or another part left. None is believed for itself: a unit takes one over only where the digests of the
 * unit's inputs and of what it would write, read again, are those of the record. No path, inode or time counts.
 */
export interface Claims {
  readonly isEmpty: boolean
  /** Whether it is worth reading again what a unit of this key reads and writes. */
  has(key: string): boolean
  find(made: Pick<UnitRecord, 'key' | 'inputs' | 'outputs'>): UnitRecord | undefined
}

export function claimsOf(records: Iterable<UnitRecord>): Claims {
  const byKey = new Map<string, UnitRecord[]>()
  for (const record of records) {
    const same = byKey.get(record.key)
    if (same) same.push(record)
    else byKey.set(record.key, [record])
  }
  return {
    isEmpty: byKey.size === 0,
    has: (key) => byKey.has(key),
    find: ({ key, inputs, outputs }) =>
      byKey.get(key)?.find((record) => areEqual(record.inputs, inputs) && areEqual(record.outputs, outputs)),
  }
}

const areEqual = (a: readonly unknown[], b: readonly unknown[]): boolean =>
  a.length === b.length && a.every((each, index) => each !== null && each === b[index])
