/** The containers that terge knows, and the kinds of files with weights that it refuses. Nothing else knows file extensions. */
import { Buffer } from 'node:buffer'
import { fault } from '../../core/diagnostics.js'
import { isLfsPointer, LFS_HINT, LFS_POINTER } from '../../storage/lfs.js'
import type { ByteSource } from '../../storage/types.js'
import type { Allowance } from './allowance.js'
import { pytorch } from './pytorch/index.js'
import { safetensors } from './safetensors/index.js'
import { type Container, type ContainerHeader, HEAD_BYTES } from './types.js'

/** In the order of preference: where a folder has files of several, they hold the same. */
export const CONTAINERS: readonly Container[] = [safetensors, pytorch]

const SAVE = 'save the weights as safetensors'
const UNPACK = 'its weights are packed for inference: merge the model that it was made from, and convert the result'

/** Files with weights that terge does not read: by their extensions, some also by their first bytes. */
const FOREIGN: readonly Foreign[] = [
  { extensions: ['.gguf', '.ggml'], known: { name: 'a GGUF', begins: 'GGUF', hint: UNPACK } },
  { extensions: ['.h5'], known: { name: 'an HDF5', begins: '\x89HDF', hint: SAVE } },
  { extensions: ['.npy'], known: { name: 'a NumPy', begins: '\x93NUMPY', hint: SAVE } },
  { extensions: ['.npz', '.onnx', '.onnx_data', '.msgpack', '.pkl', '.pickle', '.ot', '.tflite', '.mar'] },
]

interface Foreign {
  readonly extensions: readonly string[]
  /** Of files that are also known by their first bytes: what messages call them, those bytes, and what to do instead. */
  readonly known?: { readonly name: string; readonly begins: string; readonly hint: string }
}

/** What outputs are written as. */
export const OUTPUT = { ...safetensors, extension: safetensors.extensions[0]! }

/** Extensions without their dots, as a part of a regular expression: of what terge reads, and of all weights. */
const alternatives = (all: readonly { readonly extensions: readonly string[] }[]): string =>
  all.flatMap(({ extensions }) => extensions.map((one) => one.slice(1))).join('|')
export const EXTENSIONS = alternatives(CONTAINERS)
export const ALL_EXTENSIONS = alternatives([...CONTAINERS, ...FOREIGN])

const EXTENSION = new RegExp(`\\.(${EXTENSIONS})$`, 'i')

/** A file's name without the extension of a container. */
export const withoutExtension = (name: string): string => name.replace(EXTENSION, '')

const hasExtension = (name: string, { extensions }: Container): boolean =>
  extensions.some((extension) => name.endsWith(extension))

/** Whether a file of a folder holds weights, by its name. */
export const isWeightsOf = (name: string, container: Container): boolean =>
  hasExtension(name, container) && !container.notWeights?.test(name)

/** Whether a file's name is one of an index of this container's files. A variant's has its name before `.json`. */
export const isIndexOf = (name: string, { indexed }: Container): boolean =>
  indexed !== undefined && new RegExp(`\\${indexed}\\.index(\\.\\w+)?\\.json$`).test(name)

export const isIndex = (name: string): boolean => CONTAINERS.some((container) => isIndexOf(name, container))

/** What the index is called that tells of the parts of a whole file. */
export const indexName = (whole: string): string => `${whole}.index.json`

/** Whether an output of this path is one file, not a folder. */
export const isOutputFile = (path: string): boolean => path.endsWith(OUTPUT.extension)

/**
 * Reads the header of a file of any kind: its content says which. `fileName` is its own name, `source.name` what messages call it.
 * Faults: `unsupported-format`, those of the container. What no container recognises is read as the first one: its checks say what is wrong.
 */
export async function openContainer(
  source: ByteSource,
  allowance: Allowance,
  fileName: string,
): Promise<ContainerHeader> {
  const head = await source.read(0, Math.min(source.size, HEAD_BYTES))
  const container = CONTAINERS.find((container) => container.recognises(head))
  if (!container) refuseForeign(head, source.name)
  return (container ?? CONTAINERS[0]!).open(source, allowance, fileName)
}

/** Fault `unsupported-format` for a file of a known other kind, as far as its first bytes tell. `shown` names the file. */
function refuseForeign(head: Uint8Array, shown: string): void {
  if (isLfsPointer(head)) throw fault('unsupported-format', `${shown}: ${LFS_POINTER}`, LFS_HINT)
  const text = Buffer.from(head.buffer, head.byteOffset, head.length).toString('latin1')
  const known = FOREIGN.find(({ known }) => known && text.startsWith(known.begins))?.known
  if (known) throw fault('unsupported-format', `${shown}: ${known.name} file, which terge does not read`, known.hint)
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

/** A file among these names that holds a model which is packed for inference. */
export const packedForInference = (names: readonly string[]): string | undefined =>
  names.find((name) => name.endsWith('.gguf'))
