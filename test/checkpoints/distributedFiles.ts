/** A small assembler for distributed checkpoints: honest ones as PyTorch writes them, and any kind of lie. */
import { Buffer } from 'node:buffer'
import {
  call,
  dict,
  EMPTY_LIST,
  EMPTY_TUPLE,
  global,
  int,
  ints,
  join,
  MARK,
  NONE,
  pickle,
  string,
  tensor,
  torchZip,
  tuple,
} from './pytorchFiles.js'

type Part = Uint8Array | string

const METADATA = 'torch.distributed.checkpoint.metadata'

/** An object with this state. */
export const object = (module: string, name: string, state?: Part): Uint8Array =>
  join(global(module, name), EMPTY_TUPLE, 0x81, ...(state === undefined ? [] : [state, 'b']))

/** A dictionary with any keys. */
export const pairs = (entries: readonly (readonly [Part, Part])[]): Uint8Array =>
  join('}', MARK, ...entries.flat(), 'u')

export const list = (items: readonly Part[]): Uint8Array => join(EMPTY_LIST, MARK, ...items, 'e')

const size = (values: readonly number[]): Uint8Array => call(global('torch', 'Size'), ints(values))

/** A file of `torch.save` with one tensor of F32 numbers. */
export const savedTensor = (shape: readonly number[], values: readonly number[]): Uint8Array => {
  const strides = shape.map((_, axis) => shape.slice(axis + 1).reduce((product, one) => product * one, 1))
  const data = new Uint8Array(Float32Array.from(values).buffer)
  const own = join(
    tuple(string('storage'), global('torch', 'FloatStorage'), string('0'), string('cpu'), int(values.length)),
    'Q',
  )
  return torchZip(tensor({ storage: own, shape, strides }), { 0: data })
}

export interface ChunkText {
  readonly at: readonly number[]
  readonly shape: readonly number[]
  /** The file of `torch.save`; by default numbers that count up from the chunk's first index. */
  readonly saved?: Uint8Array
  /** What the metadata say about its place, if not the truth. */
  readonly info?: Part
  readonly file?: string
  readonly offset?: number
  readonly length?: number
}

export interface TensorText {
  readonly shape: readonly number[]
  readonly chunks: readonly ChunkText[]
  readonly dtype?: string
  readonly path?: readonly string[]
}

export interface FolderText {
  readonly tensors: Readonly<Record<string, TensorText>>
  /** Names of entries that are not tensors. */
  readonly bytes?: Readonly<Record<string, readonly string[]>>
  readonly version?: Part
  /** Replaces the whole description of the paths. */
  readonly planner?: Part
  readonly entry?: Readonly<Record<string, Part>>
}

/** The files of a distributed checkpoint, all chunks in `__0_0.distcp`. */
export function distributedFiles({ tensors, bytes = {}, version, planner, entry = {} }: FolderText) {
  const written: Uint8Array[] = []
  let end = 0
  const storage: (readonly [Part, Part])[] = []
  const described: Record<string, Part> = {}
  const paths: Record<string, Part> = {}
  const index = (name: string, offset: Part): Part =>
    object(METADATA, 'MetadataIndex', dict({ fqn: string(name), offset, index: NONE }))
  for (const [name, { shape, chunks, dtype = 'float32', path = [name] }] of Object.entries(tensors)) {
    described[name] = object(
      METADATA,
      'TensorStorageMetadata',
      dict({
        properties: object(METADATA, 'TensorProperties', tuple(global('torch', dtype), NONE, 0x89, NONE, 0x89)),
        size: size(shape),
        chunks: list(
          chunks.map(({ at, shape }) =>
            object(METADATA, 'ChunkStorageMetadata', dict({ offsets: size(at), sizes: size(shape) })),
          ),
        ),
      }),
    )
    paths[name] = tuple(...path.map(string))
    for (const chunk of chunks) {
      const count = chunk.shape.reduce((product, one) => product * one, 1)
      const saved =
        chunk.saved ??
        savedTensor(
          chunk.shape,
          Array.from({ length: count }, (_, at) => (chunk.at[0] ?? 0) * 100 + at),
        )
      const info =
        chunk.info ?? storageInfo(chunk.file ?? '__0_0.distcp', chunk.offset ?? end, chunk.length ?? saved.length)
      storage.push([index(name, size(chunk.at)), info])
      written.push(saved)
      end += saved.length
    }
  }
  for (const [name, path] of Object.entries(bytes)) {
    described[name] = object(METADATA, 'BytesStorageMetadata')
    paths[name] = tuple(...path.map(string))
    storage.push([index(name, NONE), storageInfo('__0_0.distcp', 0, 1)])
  }
  const metadata = object(
    METADATA,
    'Metadata',
    dict({
      state_dict_metadata: dict({ ...described, ...entry }),
      planner_data: planner ?? dict(paths),
      storage_data: pairs(storage),
      ...(version === undefined ? {} : { version }),
    }),
  )
  return { '.metadata': pickle(metadata), '__0_0.distcp': new Uint8Array(Buffer.concat(written)) }
}

/** Where a chunk is. */
export const storageInfo = (
  file: string,
  offset: number,
  length: number,
  more: Readonly<Record<string, Part>> = {},
): Uint8Array =>
  object(
    'torch.distributed.checkpoint.filesystem',
    '_StorageInfo',
    dict({ relative_path: string(file), offset: int(offset), length: int(length), ...more }),
  )
