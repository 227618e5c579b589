/** Where files come from: a folder of this machine, or a repository of the hub. Nothing here knows of tensors. */

/** A file's bytes by ranges. */
export interface ByteSource {
  /** For messages. */
  readonly name: string
  readonly size: number
  /** Exactly `length` bytes from `offset` on. Callers have checked both against `size`. */
  read(offset: number, length: number): Promise<Uint8Array>
}

export interface OpenFile extends ByteSource {
  close(): Promise<void>
}

export interface Listed {
  readonly name: string
  /** It lies on this machine. */
  readonly held: boolean
  /** Where the store knows it without a look at the file. */
  readonly size?: number
}

/** A folder of files that one model consists of. Names are relative to it, `/` between parts. */
export interface Store {
  /** Where its files lie on this machine, under their names, as soon as they are held. Workers read them there. */
  readonly folder: string
  /** Files and folders directly in a folder of it; '' is itself. Fails as the file system does where that can't be read. */
  list(within: string): Promise<readonly Listed[]>
  /** Says which files will be opened, so that the beginnings of far ones can come together. */
  expect(names: readonly string[]): void
  /** Throws `FileProblem` for what is no regular file in the folder. `shown` names the file in messages. */
  open(name: string, shown: string): Promise<OpenFile>
  /** Brings files onto this machine, whole and checked. */
  hold(names: readonly string[]): Promise<void>
}
