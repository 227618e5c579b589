import type { Checkpoint, StoredTensor } from '../checkpoints/types.js'
import { smallKernels, treeDigest } from '../kernels/index.js'
import type { Job } from './compile/job.js'
import { compileDigest } from './compile/tensor.js'
import { refuseInterrupted } from './interrupted.js'
import { openPool } from './pools/threads.js'
import { schedule } from './schedule/schedule.js'
import { windowMode } from './windowMode.js'

export interface DigestOptions {
  readonly threads: number
  readonly signal?: AbortSignal
  /** Called with the bytes of each finished task, and the tensor that they are of: its index in the given order. */
  readonly progress?: (read: number, place: number) => void
}

/** The location of a stored tensor. `file`: index into the files that are read. */
export type StoredPlace = Pick<StoredTensor, 'file' | 'offset' | 'bytes'>

/** The digest of each stored tensor, in the order given. Reads every tensor once. Errors: `input-changed`, `interrupted`. */
export async function digestTensors(
  files: Checkpoint['files'],
  places: readonly StoredPlace[],
  options: DigestOptions,
): Promise<string[]> {
  const kernels = await smallKernels()
  const inOrder = (a: number, b: number) => places[a]!.file - places[b]!.file || places[a]!.offset - places[b]!.offset
  const order = Uint32Array.from(places.keys()).sort(inOrder)
  const digests = new Array<string>(places.length)
  const placeOf = new WeakMap<Job, number>()
  const pool = await openPool({
    threads: options.threads,
    mode: windowMode(),
    inputs: files,
    outputs: [],
    leaves: 1,
    reach: 0,
  })
  try {
    await schedule(
      (function* () {
        for (const place of order) {
          const { file, offset, bytes } = places[place]!
          const job = compileDigest([{ file, offset, bytes }])
          placeOf.set(job, place)
          yield job
        }
      })(),
      pool,
      {
        math: kernels.math,
        ...(options.signal ? { signal: options.signal } : {}),
        progress: (read, _, job) => options.progress?.(read, placeOf.get(job)!),
        finished(index, { leaves }) {
          const place = order[index]!
          digests[place] = treeDigest(kernels, leaves.get(0)!, places[place]!.bytes)
        },
      },
    )
  } finally {
    await pool.close()
  }
  refuseInterrupted(options.signal)
  return digests
}
