/** What of a journal is true: its digests are made again, of what was written and of all that was read for it. */
import type { Kernels } from '../kernels/index.js'
import type { Plan } from '../plan/types.js'
import { type Job, leafKey } from './compile/job.js'
import { compileDigest } from './compile/tensor.js'
import type { JournalEntry, StagedOutput } from './journal.js'
import { leafDigests } from './leafDigests.js'
import type { Pool } from './pools/types.js'
import { schedule } from './schedule/schedule.js'

export interface FinishedEntry {
  readonly output: number
  readonly entry: JournalEntry
}

export interface Checking {
  /** Among the pool's files, the first one of the outputs. */
  readonly firstOutput: number
  /** By output, the index of its first file among all output files. */
  readonly bases: readonly number[]
  readonly pool: Pool
  readonly kernels: Kernels
  readonly signal?: AbortSignal | undefined
}

/** A stored tensor of the plan's files, by leaf key. */
function placesOf({ files }: Plan): Map<string, readonly [file: number, offset: number, bytes: number]> {
  const places = files.flatMap(({ tensors }, file) =>
    tensors.map(({ offset, bytes }) => [leafKey({ file, offset, bytes }), [file, offset, bytes] as const] as const),
  )
  return new Map(places)
}

/**
 * Of what the journals say is finished, that whose staged bytes have the digest which was noted, and whose inputs have it too: what
 * is only noted never gets into a lineage.
 */
export async function finishedEntries(
  plan: Plan,
  staged: readonly StagedOutput[],
  { firstOutput, bases, pool, kernels, signal }: Checking,
): Promise<FinishedEntry[]> {
  const claims = staged.flatMap(({ journal }, output) => journal.entries.map((entry) => ({ output, entry })))
  if (claims.length === 0) return []
  const places = placesOf(plan)
  const known = claims.filter(({ entry }) => Object.keys(entry.inputs).every((key) => places.has(key)))
  const keys = [...new Set(known.flatMap(({ entry }) => Object.keys(entry.inputs)))]
  const written = known.map(({ output, entry }) => {
    const { file, offset, bytes } = plan.outputs[output]!.tensors[entry.tensor]!
    return [firstOutput + bases[output]! + file, offset, bytes] as const
  })
  function* jobs(): Generator<Job> {
    for (const place of written) yield compileDigest(...place)
    for (const key of keys) yield compileDigest(...places.get(key)!)
  }
  const found: string[] = []
  await schedule(jobs(), pool, {
    math: kernels.math,
    ...(signal ? { signal } : {}),
    progress: () => {},
    finished(index, result, job) {
      found[index] = Object.values(leafDigests(job, result, kernels))[0]!
    },
  })
  const inputs = new Map(keys.map((key, index) => [key, found[written.length + index]]))
  return known.filter(
    ({ entry }, index) =>
      found[index] === entry.digest &&
      Object.entries(entry.inputs).every(([key, digest]) => inputs.get(key) === digest),
  )
}
