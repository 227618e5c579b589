/** Which digests a run computes. */
import { fault } from '../../core/diagnostics.js'

/**
 * `full`: the tree digest of every tensor, and the SHA-256 of every file. `fast`: without computing SHA-256. `none`: none, so that neither a
 * resume nor `verify` can check contents.
 */
export type Digests = 'full' | 'fast' | 'none'

/** The digests that options ask for. True means `full`, false means `none`. */
export interface DigestOptions {
  /** Default: `full`. True is `full`, and false is `none`. */
  readonly digests?: Digests | boolean
  /** Earlier form of `digests`: true is `full`, false is `fast`. */
  readonly sha256?: boolean
}

/** Error: `contradiction`. */
export function digestsOf({ digests, sha256 }: DigestOptions): Digests {
  const named = digests === true ? undefined : digests === false ? 'none' : digests
  if (sha256 === true && named !== undefined && named !== 'full')
    throw fault('contradiction', `sha256 and the digests '${named}' cannot be used together`, 'remove sha256')
  return named ?? (sha256 === false ? 'fast' : 'full')
}
