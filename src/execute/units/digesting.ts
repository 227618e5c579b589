import { treeDigest } from '../../kernels/index.js'
import type { Job } from '../compile/job.js'
import { compileDigest } from '../compile/tensor.js'
import { refuseInterrupted } from '../interrupted.js'
import { type JobResult, schedule } from '../schedule/schedule.js'
import type { Engine } from './types.js'

/** Stores the digests of stored tensors that a finished job read completely. */
export function noteDigests({ digests, units, kernels }: Engine, { program }: Job, result: JobResult): void {
  for (const [index, leaves] of result.leaves) {
    const { reader } = program.leaves[index]!
    if (reader.kind !== 'contiguous') throw new Error('internal: a digest of what is not a stored tensor')
    digests.set(units.stored.numberOf(reader), treeDigest(kernels, leaves, reader.bytes))
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
  return compileDigest(file, offset, bytes)
}
