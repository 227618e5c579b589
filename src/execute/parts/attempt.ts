/**
 * The journal of one attempt at a part. Several attempts can run at the same time, on several machines: each writes a file of its own
 * and reads those of all others, so that work is kept whoever did it.
 */
import { areUnchanged, type InputState } from '../../storage/local/inputStates.js'
import { type EarlierWork, type Journals, openJournals } from '../journal.js'
import type { UnitRecord } from '../units/records.js'
import { parseDigests } from '../units/storedDigests.js'

export interface AttemptJournal {
  /** The file of this attempt. It does not exist yet. */
  readonly own: string
  /** What other attempts have recorded. */
  readonly others: readonly EarlierWork[]
  /** Records of the part that are complete. */
  readonly records: readonly UnitRecord[]
}

/** `inputs`: their states at the start. `stays`: whether an output's unfinished files are there for the next attempt. */
export function openAttempt(
  { own, others, records }: AttemptJournal,
  inputs: () => readonly InputState[],
  stays: (output: number) => boolean,
): Journals {
  const staging = { journal: own, resumed: false }
  const journals = openJournals([{ output: 0, staging }], () => areUnchanged(inputs()))
  return {
    ...journals,
    found: [...records, ...others.flatMap((other) => other.records)],
    tiles: others.flatMap((other) => other.tiles),
    stored: parseDigests(others.flatMap(({ digests }) => digests)),
    add: (_, record) => journals.add(0, record),
    addTiles: (output, record) => stays(output) && journals.addTiles(0, record),
  }
}
