/** Sources of files: a local folder, or a repository on the hub. Knows nothing about tensors. */

/** A file that is read by ranges of bytes. */
export interface ByteSource {
  /** For messages. */
  readonly name: string
  readonly size: number
  /** Reads exactly `length` bytes from `offset`. The caller checks both against `size`. */
  read(offset: number, length: number): Promise<Uint8Array>
}

export interface OpenFile extends ByteSource {
  close(): Promise<void>
}

export interface Listed {
  readonly name: string
  /** Whether the file is on this machine. */
  readonly held: boolean
  /** In bytes, if the store knows it without opening the file. */
  readonly size?: number
}

/** A folder with the files of one model. Names are relative to it, with `/`. */
export interface Store {
  /** The local folder of its files. Workers read them there once they are held. */
  readonly folder: string
  /** Lists the entries of a subfolder; '' is the folder itself. Throws the error of the file system if it can't be read. */
  list(within: string): Promise<readonly Listed[]>
  /** Announces the files that will be opened, so that a remote store can download their headers in parallel. */
  expect(names: readonly string[]): void
  /** Opens a file. Throws `FileProblem` if it is not a regular file in the folder. `shown` names the file in messages. */
  open(name: string, shown: string): Promise<OpenFile>
  /** Makes whole, checked files available on this machine. */
  hold(names: readonly string[]): Promise<void>
}
