/** Containers: how a file says which tensors it holds and where their bytes are. One folder each; `index.ts` lists them. */
import type { Dtype } from '../../core/dtypes.js'
import type { ByteSource } from '../../storage/types.js'
import type { Allowance } from './allowance.js'

/** One tensor as a container describes it. Shapes and offsets were checked against the file's size. */
export interface ContainerTensor {
  readonly name: string
  readonly dtype: Dtype
  readonly shape: readonly number[]
  /** In bytes from the start of the file: of the first element. */
  readonly offset: number
  /** To the end of the last element. With strides fewer or more than the elements take. */
  readonly bytes: number
  /** In elements, where the tensor is not contiguous in row-major order (PyTorch views). */
  readonly strides?: readonly number[]
}

/** What a file says of its tensors. */
export interface ContainerHeader {
  /** Bytes of the file's beginning that say it: up to the tensor data, or to the end of a pickle. */
  readonly headerBytes: number
  /** `sha256:…` of those bytes. */
  readonly headerDigest: string
  readonly metadata: Readonly<Record<string, string>>
  /** In the file's own order. */
  readonly tensors: readonly ContainerTensor[]
}

/** How a container is written. Its tensors' data follow the header without gaps, in the order of `compare`. */
export interface ContainerWriter {
  /** Bytes that a header may have. */
  readonly mostHeaderBytes: number
  compare(a: WrittenTensor, b: WrittenTensor): number
  /** Bytes that a tensor's entry in a header takes at most. */
  entryBytes(tensor: WrittenTensor): number
  /** A header as text, and the bytes that it takes in the file. Faults: `bad-name`, `header-too-large`. */
  header(
    tensors: readonly WrittenTensor[],
    metadata: Readonly<Record<string, string>>,
    fileName: string,
  ): { readonly text: string; readonly bytes: number }
  /** A header as it stands in the file. */
  encode(text: string): Uint8Array
}

export interface WrittenTensor {
  readonly name: string
  readonly dtype: Dtype
  readonly shape: readonly number[]
  readonly bytes: number
}

export interface Container {
  /** What messages call its files. */
  readonly name: string
  /** One of them, in a list of what a model may be. */
  readonly described: string
  /** With the dot. A file is known by its content; extensions tell which files of a folder to look at. */
  readonly extensions: readonly string[]
  /** What a folder's file is called that holds the whole model, or the whole module of a pipeline. */
  readonly wholeNames: readonly string[]
  /** What PEFT calls a file with an adapter's weights. */
  readonly adapterName?: string
  /** The extension of the files that an index (`NAME.index.json`) may tell the tensors of. */
  readonly indexed?: string
  /** Names with one of the extensions that hold no weights. */
  readonly notWeights?: RegExp
  /** Several files of a folder without an index are one model. Else they are most likely several. */
  readonly joined: boolean
  /** Whether a file is of this kind, by its first `HEAD_BYTES` bytes (all of them where it is shorter). */
  recognises(head: Uint8Array): boolean
  /**
   * Reads and checks what a file describes, without any tensor data. `fileName` is the file's own name, `source.name` what
   * messages call it; `allowance` is charged for what is kept.
   */
  open(source: ByteSource, allowance: Allowance, fileName: string): Promise<ContainerHeader>
  /** Absent where terge does not write such files. */
  readonly write?: ContainerWriter
}

/** Bytes of a file's beginning that `Container.recognises` is shown. */
export const HEAD_BYTES = 32
