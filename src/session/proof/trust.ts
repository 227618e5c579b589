/** Who must have signed something, and what was signed. */

/** A key or certificates that signatures are checked with. */
export interface Trust {
  /** The path of the public key in PEM. */
  readonly key?: string
  /** The path of certificates in PEM that the user trusts. */
  readonly certificate?: string
}

/** By model: the signed SHA-256 of its files by name, 64 hexadecimal digits. */
export type SignedInputs = ReadonlyMap<string, ReadonlyMap<string, string>>
