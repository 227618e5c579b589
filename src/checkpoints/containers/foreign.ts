/** Files that terge does not read, and what to do instead. */
import { Buffer } from 'node:buffer'
import { fault } from '../../core/diagnostics.js'

/** By their first bytes. */
const FORMATS = [
  {
    name: 'GGUF',
    magic: 'GGUF',
    hint: 'its weights are packed for inference: merge the model that it was made from, and convert the result',
  },
  { name: 'HDF5', magic: '\x89HDF', hint: 'save the weights as safetensors' },
  { name: 'NumPy', magic: '\x93NUMPY', hint: 'save the weights as safetensors' },
] as const

/** Extensions of files with weights that terge does not read, as a part of a regular expression. */
export const FOREIGN_EXTENSIONS = 'gguf|ggml|onnx|onnx_data|h5|msgpack|npz|npy|pkl|pickle|ot|tflite|mar'

/** A folder's file that is packed for inference, among these names. */
export const packedForInference = (names: readonly string[]): string | undefined =>
  names.find((name) => name.endsWith('.gguf'))

/** Fault `unsupported-format` for a file of a known other kind, as far as its first bytes tell. `shown` names the file. */
export function refuseForeign(head: Uint8Array, shown: string): void {
  const known = FORMATS.find(
    ({ magic }) => Buffer.from(head.buffer, head.byteOffset, head.length).indexOf(magic, 0, 'latin1') === 0,
  )
  if (known) throw fault('unsupported-format', `${shown}: a ${known.name} file, which terge does not read`, known.hint)
  if (head[0] === 0x80 && head[1]! <= 5)
    throw fault(
      'unsupported-format',
      `${shown}: a pickle, but not one that torch.save wrote`,
      'save the state dict with torch.save, or as safetensors',
    )
  if (head[0] === 0x7b)
    throw fault(
      'unsupported-format',
      `${shown}: JSON text, not a safetensors file`,
      'for a sharded model, name its folder',
    )
}
