/** Where files come from: a folder of this machine, or a repository of the hub. Nothing here knows of tensors. */

/** A file's bytes by ranges. */
export interface ByteSource {
  /** For messages. */
  readonly name: string
  readonly size: number
  /** Exactly `length` bytes from `offset` on. Callers have checked both against `size`. */
  read(offset: number, length: number): Promise<Uint8Array>
}
