/**
 * PyTorch state dicts as headers: which tensors a file holds and where they lie in it. Neither format is run or
 * unpacked; tensors are read in place, as from safetensors, except that some have strides (`strided.ts`).
 */

import { fault } from '../../../core/diagnostics.js'
import { sha256 } from '../../../core/digest.js'
import type { Budget } from '../../../core/json/reader.js'
import type { ByteSource } from '../../../storage/types.js'
import { readArchive } from './archive.js'
import { HARMFUL } from './hints.js'
import { readLegacy } from './legacy.js'
import { modelTensors } from './stateDict.js'
import { outputAllowance, type PytorchTensor, placeTensor } from './tensors.js'

export { copyStrided, gatherStrided, stridedOffset, stridedSpan } from './strided.js'
export type { PytorchTensor } from './tensors.js'

/** Bytes that `isPytorchFile` wants to see. */
export const PYTORCH_HEAD_BYTES = 32
/** Bytes that a tensor's record and its place in maps take, beside name and shape. */
const TENSOR_COST = 200
/** The magic number that the legacy format begins with, as a pickled whole number. */
const LEGACY_MAGIC = [0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, 0x2e]

export interface PytorchHeader {
  /** Bytes up to the end of the pickle: all that says what the file holds, in both formats. */
  readonly headerBytes: number
  /** `sha256:…` of those bytes. */
  readonly headerDigest: string
  /** PyTorch files have none of the kind that safetensors has. */
  readonly metadata: Readonly<Record<string, string>>
  /** In the file's own order of names. */
  readonly tensors: readonly PytorchTensor[]
}

const isZip = (head: Uint8Array): boolean => head[0] === 0x50 && head[1] === 0x4b && head[2] === 3 && head[3] === 4

/**
 * Whether a file begins as `torch.save` begins one, judged by its first `PYTORCH_HEAD_BYTES` (fewer where it is
 * shorter). A safetensors header may have such a length by chance, but its ninth byte is then `{`.
 */
export function isPytorchFile(head: Uint8Array): boolean {
  if (head[8] === 0x7b) return false
  return isZip(head) || isLegacy(head)
}

/** Protocol 4 and later put a frame's length between the protocol and the number. */
function isLegacy(head: Uint8Array): boolean {
  if (head[0] !== 0x80) return false
  const start = head[2] === 0x95 ? 11 : 2
  return LEGACY_MAGIC.every((byte, index) => head[start + index] === byte)
}

/**
 * Reads and checks what a PyTorch file (`isPytorchFile`) describes, without any tensor data. `budget` is charged for
 * what is kept. Faults: those of `readArchive`, `readLegacy`, `modelTensors` and `placeTensor`, `header-memory`.
 */
export async function readPytorchHeader(source: ByteSource, budget: Budget): Promise<PytorchHeader> {
  const head = await source.read(0, Math.min(4, source.size))
  const { value, headerBytes, locate } = await (isZip(head) ? readArchive(source) : readLegacy(source))
  const allowance = outputAllowance(source.size)
  const tensors: PytorchTensor[] = []
  for (const [name, tensor] of modelTensors(value, source.name)) {
    const placed = await placeTensor(name, tensor, source.name, locate, allowance)
    budget.left -= TENSOR_COST + 2 * name.length + 16 * placed.shape.length
    if (budget.left < 0)
      throw fault('header-memory', `${source.name}: the file describes more tensors than any real model has`, HARMFUL)
    tensors.push(placed)
  }
  return { headerBytes, headerDigest: sha256(await source.read(0, headerBytes)), metadata: {}, tensors }
}
