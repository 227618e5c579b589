import { type Kernels, treeDigest } from '../kernels/index.js'
import { type Job, leafKey } from './compile/job.js'
import type { JobResult } from './schedule/schedule.js'

/** Digests of the stored tensors that a finished job read whole, by leaf key. */
export function leafDigests({ program }: Job, result: JobResult, kernels: Kernels): Record<string, string> {
  const digests: Record<string, string> = {}
  for (const [index, digest] of result.leaves) {
    const leaf = program.leaves[index]!
    digests[leafKey(leaf)] = treeDigest(kernels, digest, leaf.bytes)
  }
  return digests
}
