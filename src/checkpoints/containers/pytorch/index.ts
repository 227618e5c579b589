/**
 * PyTorch state dicts as headers: which tensors a file holds and where they are. terge does not run the pickle or unpack
 * the archive. It reads tensors in place, as from safetensors; some have strides (`views/strided.ts`).
 */

import { fault } from '../../../core/diagnostics.js'
import { sha256 } from '../../../core/digest.js'
import type { ByteSource } from '../../../storage/types.js'
import { type Allowance, takeHeader } from '../allowance.js'
import type { Container, ContainerHeader, ContainerTensor } from '../types.js'
import { isZip, readArchive } from './archive.js'
import type { Contents } from './contents.js'
import { HARMFUL } from './hints.js'
import { readLegacy } from './legacy.js'
import { modelTensors } from './stateDict.js'
import { outputAllowance, placeTensor } from './tensors.js'

/** Memory per tensor in bytes, without its name and shape. */
const TENSOR_COST = 200
/** The legacy format starts with this magic number, as a pickled integer. */
const LEGACY_MAGIC = [0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, 0x2e]

/** From protocol 4 on, the length of a frame comes before the magic number. */
function isLegacy(head: Uint8Array): boolean {
  if (head[0] !== 0x80) return false
  const start = head[2] === 0x95 ? 11 : 2
  return LEGACY_MAGIC.every((byte, index) => head[start + index] === byte)
}

/** What a file of either format describes. Errors: those of `readArchive` and `readLegacy`. */
export async function readContents(source: ByteSource): Promise<Contents> {
  const head = await source.read(0, Math.min(4, source.size))
  return isZip(head) ? readArchive(source) : readLegacy(source)
}

/** Errors: those of `readContents`, `modelTensors` and `placeTensor`, `header-memory`. */
async function open(source: ByteSource, allowance: Allowance): Promise<ContainerHeader> {
  const { value, headerBytes, locate } = await readContents(source)
  const output = outputAllowance(source.size)
  const tensors: ContainerTensor[] = []
  for (const [name, tensor] of modelTensors(value, source.name)) {
    const placed = await placeTensor(name, tensor, source.name, locate, output)
    allowance.left -= TENSOR_COST + 2 * name.length + 16 * placed.shape.length
    if (allowance.left < 0)
      throw fault('header-memory', `${source.name}: the file describes more tensors than any real model has`, HARMFUL)
    tensors.push(placed)
  }
  takeHeader(allowance, headerBytes, source.name)
  return { headerBytes, headerDigest: sha256(await source.read(0, headerBytes)), metadata: {}, tensors }
}

export const pytorch: Container = {
  name: 'PyTorch',
  described: 'a PyTorch state dict',
  extensions: ['.bin', '.pt', '.pth', '.ckpt'],
  wholeNames: ['pytorch_model.bin', 'diffusion_pytorch_model.bin'],
  adapterName: 'adapter_model.bin',
  indexed: '.bin',
  // Files that a trainer saves beside the weights.
  notWeights: /^((training_args|optimizer|scheduler|scaler|rng_state)\b|rng_state_)/,
  joined: false,
  // A safetensors header may have such a length by chance, but its ninth byte is then `{`.
  recognises: (head) => head[8] !== 0x7b && (isZip(head) || isLegacy(head)),
  open,
}
