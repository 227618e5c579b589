import { availableParallelism } from 'node:os'
import type { Checkpoint } from '../checkpoints/types.js'
import { digestTensors } from '../execute/digest.js'
import { bytesDigest, compileKernels, instantiateKernels } from '../kernels/index.js'
import { fileDigest } from './fileDigest.js'

/** Digests of a checkpoint on disk: of its files in their order, and of its tensors by name. Reads all of it once. */
export async function digestCheckpoint(
  checkpoint: Checkpoint,
  options: {
    readonly threads?: number
    readonly signal?: AbortSignal
    readonly progress?: (read: number) => void
  } = {},
): Promise<{ files: string[]; tensors: Map<string, string> }> {
  const tensors = await digestTensors(checkpoint, { ...options, threads: options.threads ?? availableParallelism() })
  const kernels = instantiateKernels(await compileKernels(), new WebAssembly.Memory({ initial: 32 }))
  const files = checkpoint.files.map(({ headerDigest }, file) => {
    const inFile = [...checkpoint.tensors.values()]
      .filter((tensor) => tensor.file === file)
      .sort((a, b) => a.offset - b.offset || a.bytes - b.bytes || (a.name < b.name ? -1 : 1))
    const digests = inFile.map(({ name }) => tensors.get(name)!)
    return fileDigest(headerDigest, digests, (bytes) => bytesDigest(kernels, bytes))!
  })
  return { files, tensors }
}
