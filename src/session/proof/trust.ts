/** Who must have signed something, and what was signed. */

/** A key or certificates that signatures are checked with. */
export interface Trust {
  /** The path of the public key in PEM. */
  readonly key?: string
  /** The path of certificates in PEM that the user trusts. */
  readonly certificate?: string
}

/** A list of files that was signed. */
export interface SignedList {
  readonly serialization: { readonly method: 'files' | 'shards'; readonly hash: 'sha256' | 'blake2b' }
  /** `.` names a model that is one file. Digests are hexadecimal. */
  readonly resources: readonly { readonly name: string; readonly digest: string }[]
}

/** By model: the signed SHA-256 of its files by name, 64 hexadecimal digits. */
export type SignedInputs = ReadonlyMap<string, ReadonlyMap<string, string>>

/**
 * `valid`: signed with the key, as are all files that the run read. `invalid`: there are errors. `unchecked`: somebody else signed it.
 * `unsigned`: it has no signature. `missing`: it is not on this machine.
 */
export type InputSignature = 'valid' | 'invalid' | 'unchecked' | 'unsigned' | 'missing'
