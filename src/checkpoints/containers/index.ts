/** The container formats that terge reads, and the formats that it refuses. File extensions appear only here and in the containers. */
import { Buffer } from 'node:buffer'
import { fault } from '../../core/diagnostics.js'
import { isLfsPointer, LFS_HINT, LFS_POINTER } from '../../storage/lfs.js'
import type { ByteSource } from '../../storage/types.js'
import type { Allowance } from './allowance.js'
import { DISTCP, distributed } from './distributed/index.js'
import { pytorch } from './pytorch/index.js'
import { isRankFile, ranks } from './ranks/index.js'
import { safetensors } from './safetensors/index.js'
import { type Container, type ContainerHeader, type FolderContainer, HEAD_BYTES } from './types.js'

/** In order of preference: if a folder has weights in several formats, they are copies of each other. */
export const CONTAINERS: readonly Container[] = [safetensors, pytorch]

/** Formats of folders, which are read only if there is no safetensors file. */
const FOLDERS: readonly FolderContainer[] = [distributed, ranks]

const SAVE = 'save the weights as safetensors'
const UNPACK = 'its weights are converted for inference: merge the original model, then convert the result'

/** Weight files that terge does not read. All are recognized by extension, some also by their first bytes. */
const FOREIGN: readonly Foreign[] = [
  { extensions: ['.gguf', '.ggml'], known: { name: 'a GGUF', begins: 'GGUF', hint: UNPACK } },
  { extensions: ['.h5'], known: { name: 'an HDF5', begins: '\x89HDF', hint: SAVE } },
  { extensions: ['.npy'], known: { name: 'a NumPy', begins: '\x93NUMPY', hint: SAVE } },
  { extensions: [DISTCP] },
  { extensions: ['.npz', '.onnx', '.onnx_data', '.msgpack', '.pkl', '.pickle', '.ot', '.tflite', '.mar'] },
]

interface Foreign {
  readonly extensions: readonly string[]
  /** For formats that are recognized by their first bytes: the name in messages, those bytes, and a hint. */
  readonly known?: { readonly name: string; readonly begins: string; readonly hint: string }
}

/** The container of outputs. */
export const OUTPUT = { ...safetensors, extension: safetensors.extensions[0]! }

/** Extensions without dots, as alternatives of a regular expression: formats that terge reads, and all weight formats. */
const alternatives = (all: readonly { readonly extensions: readonly string[] }[]): string =>
  all.flatMap(({ extensions }) => extensions.map((one) => one.slice(1))).join('|')
export const EXTENSIONS = alternatives(CONTAINERS)
export const ALL_EXTENSIONS = alternatives([...CONTAINERS, ...FOREIGN])

const EXTENSION = new RegExp(`\\.(${EXTENSIONS})$`, 'i')

/** A file name without its container extension. */
export const withoutExtension = (name: string): string => name.replace(EXTENSION, '')

/** The format of a folder whose files store tensors together; undefined if it has no such files. */
export const folderContainer = (names: readonly string[]): FolderContainer | undefined =>
  FOLDERS.find(({ recognises }) => recognises(names))

/** Whether a folder with these entries has weights that come before those of `folderContainer`. */
export const hasWholeWeights = (names: readonly string[]): boolean =>
  names.some((name) => isWeightsOf(name, safetensors) || isIndexOf(name, safetensors))

const hasExtension = (name: string, { extensions }: Container): boolean =>
  extensions.some((extension) => name.endsWith(extension))

/** Whether a file holds weights of this container, judged by its name. */
export const isWeightsOf = (name: string, container: Container): boolean =>
  hasExtension(name, container) && !container.notWeights?.test(name)

/** Whether a file name is that of an index of this container. The index of a variant has the variant's name before `.json`. */
export const isIndexOf = (name: string, { indexed }: Container): boolean =>
  indexed !== undefined && new RegExp(`\\${indexed}\\.index(\\.\\w+)?\\.json$`).test(name)

export const isIndex = (name: string): boolean => CONTAINERS.some((container) => isIndexOf(name, container))

/** The name of the index that lists the shards of a file. */
export const indexName = (whole: string): string => `${whole}.index.json`

/** Whether an output with this path is a single file. Otherwise it is a folder. */
export const isOutputFile = (path: string): boolean => path.endsWith(OUTPUT.extension)

/**
 * Reads the header of a file. The content decides the container, not the extension. `fileName` is the file's own name;
 * `source.name` is its name in messages. A file that no container recognizes is read as safetensors, whose checks report what is wrong.
 * Errors: `unsupported-format` and those of the container.
 */
export async function openContainer(
  source: ByteSource,
  allowance: Allowance,
  fileName: string,
): Promise<ContainerHeader> {
  if (fileName.endsWith(DISTCP) || isRankFile(fileName))
    throw fault(
      'unsupported-format',
      `${source.name}: a file of ${folderContainer([fileName])!.described}, which has parts of tensors`,
      'name its folder instead of the file',
    )
  const head = await source.read(0, Math.min(source.size, HEAD_BYTES))
  const container = CONTAINERS.find((container) => container.recognises(head))
  if (!container) refuseForeign(head, source.name)
  return (container ?? CONTAINERS[0]!).open(source, allowance, fileName)
}

/** Error `unsupported-format` if the first bytes show another known format. `shown` names the file in messages. */
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

/** The first of these names that is a model converted for inference. */
export const packedForInference = (names: readonly string[]): string | undefined =>
  names.find((name) => name.endsWith('.gguf'))
