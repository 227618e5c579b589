import type { Checkpoint } from '../checkpoints/types.js'
import { smallKernels, treeDigest } from '../kernels/index.js'
import { compileDigest } from './compile/tensor.js'
import { refuseInterrupted } from './interrupted.js'
import { openPool } from './pools/threads.js'
import { schedule } from './schedule/schedule.js'
import { windowMode } from './windowMode.js'

export interface DigestOptions {
  readonly threads: number
  readonly signal?: AbortSignal
  readonly progress?: (read: number) => void
}

/** Digests of all tensors of a checkpoint, by name. Reads every tensor once. Faults: `input-changed`, `interrupted`. */
export async function digestTensors(
  checkpoint: Pick<Checkpoint, 'files' | 'stored'>,
  options: DigestOptions,
): Promise<Map<string, string>> {
  const kernels = await smallKernels()
  const tensors = [...checkpoint.stored.values()].sort((a, b) => a.file - b.file || a.offset - b.offset)
  const digests = new Map<string, string>()
  const pool = await openPool({
    threads: options.threads,
    mode: windowMode(),
    inputs: checkpoint.files,
    outputs: [],
    leaves: 1,
    reach: 0,
  })
  try {
    await schedule(
      (function* () {
        for (const { file, offset, bytes } of tensors) yield compileDigest(file, offset, bytes)
      })(),
      pool,
      {
        math: kernels.math,
        ...(options.signal ? { signal: options.signal } : {}),
        progress: (read) => options.progress?.(read),
        finished(index, { leaves }) {
          const { name, bytes } = tensors[index]!
          digests.set(name, treeDigest(kernels, leaves.get(0)!, bytes))
        },
      },
    )
  } finally {
    await pool.close()
  }
  refuseInterrupted(options.signal)
  return digests
}
