/** Finds the tensor data of chunks. Each chunk is a whole file of `torch.save` with one tensor, somewhere in a `.distcp` file. */
import { type Fault, fault } from '../../../core/diagnostics.js'
import type { Dtype } from '../../../core/dtypes.js'
import { quote } from '../../../core/suggest.js'
import type { ByteSource } from '../../../storage/types.js'
import { isZip, readArchive } from '../pytorch/archive.js'
import { placeTensor } from '../pytorch/tensors.js'
import { describe, isTensor } from '../pytorch/values.js'
import type { StoredBox } from '../types.js'
import { type Chunk, SAVE_AGAIN } from './metadata.js'

/** Bytes that are read at once from the start and the end of a chunk: its headers in most cases. */
const HEAD = 4096
const TAIL = 2048

/** A chunk and the tensor that it is a part of. */
export interface WantedChunk extends Chunk {
  readonly tensor: string
  readonly dtype: Dtype
}

/** Where the elements of a chunk are, and what terge read of it apart from them. Errors: those of `readArchive` and `placeTensor`, `bad-chunks`. */
export async function locateChunk(
  source: ByteSource,
  file: number,
  { tensor, dtype, starts, shape, place }: WantedChunk,
  expansion: { left: number },
): Promise<{ readonly box: StoredBox; readonly header: Uint8Array }> {
  const whose = `${source.name}: tensor ${quote(tensor)}`
  const bad = (what: string): Fault => fault('bad-chunks', `${whose}: ${what}`, SAVE_AGAIN)
  const { offset, length } = place
  if (!(offset + length <= source.size))
    throw bad(`its chunk of ${length} bytes at byte ${offset} extends past the file, which has ${source.size} bytes`)
  const archive = await partOf(source, offset, length, `${whose}, chunk at byte ${offset}`)
  if (!isZip(await archive.read(0, Math.min(4, length))))
    throw fault(
      'unsupported-format',
      `${whose}: its chunk at byte ${offset} does not have the format of torch.save`,
      'save the checkpoint again with SerializationFormat.TORCH_SAVE, which is the default',
    )
  const { value, headerBytes, locate } = await readArchive(archive)
  if (!isTensor(value)) throw bad(`its chunk at byte ${offset} holds ${describe(value)}, not a plain tensor`)
  const found = await placeTensor(tensor, value, source.name, locate, expansion)
  if (found.dtype !== dtype) throw bad(`its chunk at byte ${offset} is ${found.dtype}, but the tensor is ${dtype}`)
  const { name: _, ...stored } = found
  if (found.shape.length !== shape.length || found.shape.some((size, axis) => size !== shape[axis]))
    throw bad(`its chunk at byte ${offset} has the shape ${sizes(found.shape)}, but .metadata says ${sizes(shape)}`)
  const box = { ...stored, offset: offset + found.offset, file, starts }
  return { box, header: await archive.read(0, headerBytes) }
}

const sizes = (shape: readonly number[]): string => `[${shape.join(', ')}]`

/** A range of a file as a file, with its start and end in memory. */
async function partOf(source: ByteSource, offset: number, size: number, name: string): Promise<ByteSource> {
  const whole = size <= HEAD + TAIL
  const head = await source.read(offset, whole ? size : HEAD)
  const tail = whole ? head : await source.read(offset + size - TAIL, TAIL)
  return {
    name,
    size,
    async read(from, length) {
      if (from + length <= head.length) return head.subarray(from, from + length)
      const inTail = from - (size - tail.length)
      return inTail >= 0 ? tail.subarray(inTail, inTail + length) : source.read(offset + from, length)
    },
  }
}
