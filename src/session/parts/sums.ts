/** The SHA-256 of inputs that a part computes: each file is hashed by the first part that reads it. */
import { availableParallelism } from 'node:os'
import { openSums } from '../../execute/hashing/sums.js'
import type { DonePart } from '../../execute/parts/part.js'
import type { PlanPart } from '../../plan/parts.js'
import { refuseChanged } from '../../storage/local/inputStates.js'
import type { OpenStream } from '../opened/streaming.js'
import type { Prepared } from '../plan.js'
import type { RunOptions } from '../run.js'
import { digestsOf } from '../sums/digests.js'
import { sumOfAway } from '../sums/runSums.js'
import type { PartRecord } from './records.js'

/** The files that no earlier part reads. */
export function firstReads(parts: readonly PlanPart[], index: number): number[] {
  const earlier = new Set(parts.slice(0, index).flatMap(({ files }) => files))
  return parts[index]!.files.filter((file) => !earlier.has(file))
}

/** Hashes files that a part has read. `states`: what they were then. Error: `input-changed`. */
export async function sumsOf(
  { bindings }: Prepared,
  files: readonly number[],
  states: DonePart['states'],
  stream: OpenStream | undefined,
  { threads = availableParallelism(), listen, signal, ...options }: Omit<RunOptions, 'resume'>,
): Promise<PartRecord['sums']> {
  if (digestsOf(options) !== 'full') return []
  const away = new Set(stream?.away.map(({ file }) => file))
  const here = files.filter((file) => !away.has(file))
  const placeOf = (file: number): string => bindings.files[file]!
  const sums = openSums({ threads, signal })
  try {
    await sums.settle(here.map(placeOf), listen)
    const found: (readonly [file: number, sum: string])[] = []
    for (const file of here) found.push([file, await sums.of(placeOf(file))])
    await refuseChanged(
      here.map((file) => ({ path: placeOf(file), ...(states[file] === undefined ? {} : { state: states[file] }) })),
    )
    for (const file of files) if (away.has(file)) found.push([file, await sumOfAway(stream!, file)])
    return found
  } finally {
    await sums.close()
  }
}
