/**
 * The journal of one attempt at a part. Several attempts can run at the same time, on several machines: each writes a file of its own
 * and reads those of all others, so that work is kept whoever did it.
 */
import { areUnchanged, type InputState } from '../../storage/local/inputStates.js'
import { type Journals, openJournals, readJournal } from '../journal.js'
import type { UnitRecord } from '../units/records.js'

export interface AttemptJournal {
  /** The file of this attempt. It does not exist yet. */
  readonly own: string
  /** The files of other attempts. */
  readonly others: readonly string[]
  /** Records of the part that are complete. */
  readonly records: readonly UnitRecord[]
}

/** `inputs`: their states at the start. */
export function openAttempt({ own, others, records }: AttemptJournal, inputs: () => readonly InputState[]): Journals {
  const staging = { journal: own, resumed: false }
  const journals = openJournals([{ output: 0, staging }], () => areUnchanged(inputs()))
  const earlier = others.map(readJournal)
  return {
    ...journals,
    found: [...records, ...earlier.flatMap((other) => other.records)],
    tiles: earlier.flatMap((other) => other.tiles),
    add: (_, record) => journals.add(0, record),
    addTiles: (_, record) => journals.addTiles(0, record),
  }
}
