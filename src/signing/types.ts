/** Signatures of models in the format of OpenSSF Model Signing 1.0: a Sigstore bundle around an in-toto statement that lists files. */

/** How the files of a model became a list of digests. */
export interface Serialization {
  /** `files`: one entry per file. `shards`: one per piece of a file. */
  readonly method: 'files' | 'shards'
  readonly hash: HashName
  /** Bytes of a piece. */
  readonly shardSize?: number
  /** Whether links were followed when the model was signed. */
  readonly allowSymlinks: boolean
  /** Paths, relative to the model, that the signature does not cover. A folder stands for everything in it. */
  readonly ignored: readonly string[]
}

/** Names as the standard has them. */
export type HashName = 'sha256' | 'blake2b'

/** A file, or a piece of one, and its digest. */
export interface Resource {
  /** Relative to the model, with `/`; `.` for a model that is one file. Pieces end in `:START:END`. */
  readonly name: string
  /** The digest's algorithm, as written. */
  readonly algorithm: string
  /** Hexadecimal, lower case. */
  readonly digest: string
}

/** What was signed. */
export interface Manifest {
  readonly serialization: Serialization
  readonly resources: readonly Resource[]
}

/** Something that is signed: a type and bytes. Bundles carry in-toto statements. */
export interface Envelope {
  readonly payloadType: string
  readonly payload: Buffer
  /** ECDSA, in DER. */
  readonly signature: Buffer
}

/** What a bundle says of its key. It is not signed. */
export type KeyMaterial =
  | {
      readonly kind: 'key'
      /** SHA-256 of the public key as PEM, in hexadecimal; empty if the bundle does not say. */
      readonly hint: string
      /** In bundles of versions before 1.1: the public key as PEM, and the name of its algorithm. */
      readonly pem?: string
      readonly details?: string
    }
  /** Certificates in DER, the signer's first. */
  | { readonly kind: 'certificates'; readonly chain: readonly Buffer[] }

export interface Bundle {
  readonly envelope: Envelope
  readonly material: KeyMaterial
}
