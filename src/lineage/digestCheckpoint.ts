import { availableParallelism } from 'node:os'
import { byPlace } from '../checkpoints/order.js'
import type { Checkpoint, StoredTensor } from '../checkpoints/types.js'
import { digestTensors } from '../execute/digest.js'
import { bytesDigest, smallKernels } from '../kernels/index.js'
import { fileDigest } from './fileDigest.js'
import type { Digest } from './types.js'

export interface CheckpointDigests {
  /** By `Checkpoint.files`. */
  readonly files: readonly Digest[]
  /** By name. */
  readonly tensors: ReadonlyMap<string, Digest>
}

interface DigestOptions {
  readonly threads?: number
  readonly signal?: AbortSignal
  /** Bytes of tensors read so far. */
  readonly progress?: (read: number) => void
}

/**
 * Digests of checkpoints on disk: of each one's files and tensors. Reads all of them once, in one go, so that threads
 * start once. Faults: those of reading, `interrupted`.
 */
export async function digestCheckpoints(
  checkpoints: readonly Checkpoint[],
  options: DigestOptions = {},
): Promise<CheckpointDigests[]> {
  if (checkpoints.length === 0) return []
  const files = checkpoints.flatMap((checkpoint) => checkpoint.files)
  const stored = new Map<string, StoredTensor>()
  let first = 0
  for (const [index, checkpoint] of checkpoints.entries()) {
    for (const tensor of checkpoint.stored.values()) {
      const name = `${index}:${tensor.name}`
      stored.set(name, { ...tensor, name, file: first + tensor.file })
    }
    first += checkpoint.files.length
  }
  const all = await digestTensors({ files, stored }, { ...options, threads: options.threads ?? availableParallelism() })
  const kernels = await smallKernels()
  return checkpoints.map((checkpoint, index) => {
    const found = new Map([...checkpoint.stored.keys()].map((name) => [name, all.get(`${index}:${name}`)!]))
    const inFile: StoredTensor[][] = checkpoint.files.map(() => [])
    for (const tensor of checkpoint.stored.values()) inFile[tensor.file]!.push(tensor)
    return {
      files: checkpoint.files.map(({ headerDigest }, file) => {
        const digests = inFile[file]!.sort(byPlace).map(({ name }) => found.get(name)!)
        return fileDigest(headerDigest, digests, (bytes) => bytesDigest(kernels, bytes))!
      }),
      tensors: found,
    }
  })
}
