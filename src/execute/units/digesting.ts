import { treeDigest } from '../../kernels/index.js'
import type { Job } from '../compile/job.js'
import { compileDigest, type FilePart } from '../compile/tensor.js'
import { refuseInterrupted } from '../interrupted.js'
import { type JobResult, schedule } from '../schedule/schedule.js'
import type { Engine } from './types.js'

/** Stores the digests of stored tensors that a job, or a pass of it, read completely. */
export function noteDigests(
  { digests, units, kernels }: Engine,
  { program }: Job,
  result: Pick<JobResult, 'leaves'>,
): void {
  for (const [index, leaves] of result.leaves) {
    const { reader } = program.leaves[index]!
    if (reader.kind !== 'contiguous') throw new Error('internal: a digest of what is not a stored tensor')
    const stored = units.stored.numberOf(reader)
    if (digests.get(stored) === undefined) digests.set(stored, treeDigest(kernels, leaves, reader.bytes))
  }
}

/** Digests these stored tensors, except those that have a digest. `progress`: for bytes that count as work of the run. */
export async function digestInputs(
  engine: Engine,
  stored: Iterable<number>,
  progress: (read: number, written: number) => void = () => {},
): Promise<void> {
  const { digests, pool, kernels, signal } = engine
  function* jobs(): Generator<Job> {
    for (const number of stored) if (digests.take(number)) yield digestJob(engine, number)
  }
  await schedule(jobs(), pool, {
    math: kernels.math,
    ...(signal ? { signal } : {}),
    progress,
    finished: (_, result, job) => noteDigests(engine, job, result),
  })
  refuseInterrupted(signal)
}

export function digestJob({ units }: Engine, stored: number): Job {
  const { file, offset, bytes } = units.stored.placeOf(stored)
  return compileDigest([{ file, offset, bytes }])
}

/** The leaf digests of bytes that lie in these parts of files, one after the other. */
export async function digestParts(
  { pool, kernels, signal }: Engine,
  all: readonly (readonly FilePart[])[],
): Promise<Uint8Array[]> {
  const found: Uint8Array[] = []
  await schedule(
    (function* () {
      for (const parts of all) yield compileDigest(parts)
    })(),
    pool,
    {
      math: kernels.math,
      ...(signal ? { signal } : {}),
      progress: () => {},
      finished(index, { leaves }) {
        found[index] = leaves.get(0)!
      },
    },
  )
  refuseInterrupted(signal)
  return found
}
