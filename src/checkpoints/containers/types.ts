/** A container describes which tensors a file holds and where their bytes are. Each has its own folder; `index.ts` lists them. */
import type { Dtype } from '../../core/dtypes.js'
import type { ByteSource, OpenFile } from '../../storage/types.js'
import type { Allowance } from './allowance.js'

/** One tensor as a container describes it. Its shape and offset are checked against the file size. */
export interface ContainerTensor {
  readonly name: string
  readonly dtype: Dtype
  readonly shape: readonly number[]
  /** Bytes from the start of the file to the first element. */
  readonly offset: number
  /** Bytes to the end of the last element. With strides, this can differ from the size of the elements. */
  readonly bytes: number
  /** In elements. Present if the tensor is not contiguous in row-major order (a PyTorch view). */
  readonly strides?: readonly number[]
}

/** What a file says about its tensors. */
export interface ContainerHeader {
  /** Bytes from the start of the file to the end of the header: to the tensor data, or to the end of the pickle. */
  readonly headerBytes: number
  /** `sha256:…` of those bytes. */
  readonly headerDigest: string
  readonly metadata: Readonly<Record<string, string>>
  /** In the order of the file. */
  readonly tensors: readonly ContainerTensor[]
}

/** Writes a container. The tensor data follow the header without gaps, in the order of `compare`. */
export interface ContainerWriter {
  /** Maximum size of a header in bytes. */
  readonly mostHeaderBytes: number
  compare(a: WrittenTensor, b: WrittenTensor): number
  /** Maximum size in bytes of a tensor's header entry. */
  entryBytes(tensor: WrittenTensor): number
  /** The header as text, and its size in the file. Errors: `bad-name`, `header-too-large`. */
  header(
    tensors: readonly WrittenTensor[],
    metadata: Readonly<Record<string, string>>,
    fileName: string,
  ): { readonly text: string; readonly bytes: number }
  /** The header as bytes of the file. */
  encode(text: string): Uint8Array
}

export interface WrittenTensor {
  readonly name: string
  readonly dtype: Dtype
  readonly shape: readonly number[]
  readonly bytes: number
}

export interface Container {
  /** Name of the format in messages. */
  readonly name: string
  /** The format with its article, for hints that list what a model can be. */
  readonly described: string
  /** With the dot. Extensions select which files of a folder to open; the content decides the format. */
  readonly extensions: readonly string[]
  /** File names for a whole model, or for a whole module of a pipeline. */
  readonly wholeNames: readonly string[]
  /** PEFT's name for the weights of an adapter. */
  readonly adapterName?: string
  /** Extension of the files that an index (`NAME.index.json`) can list. */
  readonly indexed?: string
  /** Files with one of the extensions that do not hold weights. */
  readonly notWeights?: RegExp
  /** Whether several files in a folder without an index are one model. */
  readonly joined: boolean
  /** Whether a file has this format. `head` holds its first `HEAD_BYTES` bytes, or fewer if the file is shorter. */
  recognises(head: Uint8Array): boolean
  /**
   * Reads and checks the header, but no tensor data. `fileName` is the file's own name; `source.name` is its name in messages.
   * What is kept in memory is subtracted from `allowance`.
   */
  open(source: ByteSource, allowance: Allowance, fileName: string): Promise<ContainerHeader>
  /** Absent if terge does not write this format. */
  readonly write?: ContainerWriter
}

/** Bytes from the start of a file that are passed to `Container.recognises`. */
export const HEAD_BYTES = 32

/** A box of a tensor's elements: one of the parts in which the files of a folder store it. */
export interface StoredBox extends Omit<ContainerTensor, 'name'> {
  /** Index into `FolderHeader.files`. */
  readonly file: number
  /** By axis, the index of its first element in the tensor. Its shape is the size of the box. */
  readonly starts: readonly number[]
}

/** A tensor that is stored in boxes. Nobody has checked yet that they cover it. */
export interface BoxedTensor {
  readonly name: string
  readonly dtype: Dtype
  readonly shape: readonly number[]
  readonly boxes: readonly StoredBox[]
}

/** What the files of a folder say about the tensors that they store together. */
export interface FolderHeader {
  readonly files: readonly {
    readonly name: string
    readonly size: number
    /** `sha256:…` of what terge reads of the file apart from tensor data. */
    readonly headerDigest: string
  }[]
  readonly tensors: readonly BoxedTensor[]
  /** What is not part of the model, as text for people: `'optim' (36 entries)`. */
  readonly skipped: readonly { readonly name: string; readonly entries: number }[]
}

/** A folder whose files store tensors together. */
export interface FolderSource {
  /** Its name in messages. */
  readonly name: string
  readonly names: readonly string[]
  /** Opens one of its files. Errors: `missing-shard`, those of `fileFault`. */
  open(name: string): Promise<OpenFile>
}

/** A format of folders in which a tensor's elements are spread over files. */
export interface FolderContainer {
  /** The format in messages, with its article. */
  readonly described: string
  /** Name of the subfolder with configuration and tokenizer, if they can be in one. */
  readonly small?: string
  /** Whether a folder with these entries has this format. */
  recognises(names: readonly string[]): boolean
  /** Reads and checks the headers of all files, but no tensor data. What is kept in memory is subtracted from `allowance`. */
  open(source: FolderSource, allowance: Allowance): Promise<FolderHeader>
}
