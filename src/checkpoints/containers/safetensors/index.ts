/** safetensors: 8 bytes of length, a JSON header, and the tensor data without gaps. */
import { sha256 } from '../../../core/digest.js'
import { takeHeader } from '../allowance.js'
import { type Container, HEAD_BYTES } from '../types.js'
import { headerLength, parseHeader } from './header.js'
import { refuseShards } from './shards.js'
import { writer } from './write.js'

export const safetensors: Container & Required<Pick<Container, 'write' | 'adapterName'>> = {
  name: 'safetensors',
  described: 'a .safetensors file',
  extensions: ['.safetensors'],
  wholeNames: ['model.safetensors', 'diffusion_pytorch_model.safetensors'],
  adapterName: 'adapter_model.safetensors',
  indexed: '.safetensors',
  joined: true,
  // After its length, the header starts with `{`.
  recognises: (head) => head[8] === 0x7b,
  async open(source, allowance) {
    const { name, size } = source
    const length = headerLength(await source.read(0, Math.min(size, HEAD_BYTES)), size, name)
    takeHeader(allowance, length, name)
    const bytes = await source.read(0, 8 + length)
    const header = parseHeader(bytes, size, name, allowance)
    refuseShards(name, header.metadata)
    return { ...header, headerDigest: sha256(bytes) }
  },
  write: writer,
}
