import { availableParallelism } from 'node:os'
import { byPlace } from '../checkpoints/order.js'
import type { Checkpoint, StoredTensor } from '../checkpoints/types.js'
import { digestTensors, type StoredPlace } from '../execute/digest.js'
import { bytesDigest, smallKernels } from '../kernels/index.js'
import { fileDigest } from './fileDigest.js'
import type { Digest } from './types.js'

/** What digests are made of: of a model of very many tensors, the rest need not be kept. */
export type StoredCheckpoint = Pick<Checkpoint, 'files' | 'stored'>

/** The bytes that `digestCheckpoints` reads. */
export const bytesToDigest = (checkpoints: readonly StoredCheckpoint[]): number =>
  checkpoints.reduce((sum, { stored }) => [...stored.values()].reduce((all, { bytes }) => all + bytes, sum), 0)

export interface CheckpointDigests {
  /** By `Checkpoint.files`. */
  readonly files: readonly Digest[]
  /** By name. */
  readonly tensors: ReadonlyMap<string, Digest>
}

interface DigestOptions {
  readonly threads?: number
  readonly signal?: AbortSignal
  /** Called with the bytes of each finished task, and the name of the tensor that they are of. */
  readonly progress?: (read: number, tensor: string) => void
}

/**
 * Digests of the files and tensors of checkpoints on disk. Reads all of them once, in one go, so that threads
 * start once. Errors: those of reading, `interrupted`.
 */
export async function digestCheckpoints(
  checkpoints: readonly StoredCheckpoint[],
  { progress, ...options }: DigestOptions = {},
): Promise<CheckpointDigests[]> {
  if (checkpoints.length === 0) return []
  const places: StoredPlace[] = []
  let firstFile = 0
  for (const { files, stored } of checkpoints) {
    for (const { file, offset, bytes } of stored.values()) places.push({ file: firstFile + file, offset, bytes })
    firstFile += files.length
  }
  const threads = options.threads ?? availableParallelism()
  const files = checkpoints.flatMap((checkpoint) => checkpoint.files)
  const names = checkpoints.flatMap(({ stored }) => [...stored.keys()])
  const all = await digestTensors(files, places, {
    ...{ ...options, threads },
    ...(progress ? { progress: (read, place) => progress(read, names[place]!) } : {}),
  })
  const kernels = await smallKernels()
  let next = 0
  return checkpoints.map(({ files, stored }) => {
    const found = new Map<string, Digest>()
    for (const name of stored.keys()) found.set(name, all[next++]!)
    const inFile: StoredTensor[][] = files.map(() => [])
    for (const tensor of stored.values()) inFile[tensor.file]!.push(tensor)
    return {
      files: files.map(({ headerDigest }, file) => {
        const digests = inFile[file]!.sort(byPlace).map(({ name }) => found.get(name)!)
        return fileDigest(headerDigest, digests, (bytes) => bytesDigest(kernels, bytes))!
      }),
      tensors: found,
    }
  })
}
