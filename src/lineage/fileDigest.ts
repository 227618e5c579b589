import { Buffer } from 'node:buffer'
import type { Digest } from './types.js'

/** `xxh3t:…` of some bytes: the tree digest that tensors have. */
export type BytesDigest = (bytes: Uint8Array) => Digest

/** Digest of a list of digests: of their texts, each ended by a line feed. Null where one of them is. */
function digestOfDigests(digests: readonly (Digest | null)[], bytesDigest: BytesDigest): Digest | null {
  if (digests.includes(null)) return null
  return bytesDigest(Buffer.from(digests.map((digest) => `${digest}\n`).join('')))
}

/**
 * Digest of a checkpoint's file: over its header's digest and those of its tensors in the order in which they lie in
 * the file. So it follows from the tensors' digests, and no byte is read twice for it. Null where a tensor has none.
 */
export const fileDigest = (
  headerDigest: Digest,
  tensors: readonly (Digest | null)[],
  bytesDigest: BytesDigest,
): Digest | null => digestOfDigests([headerDigest, ...tensors], bytesDigest)

/** Digest of a whole output: over its files' digests in the order of the lineage. Names are not part of it. */
export const wholeDigest = (files: readonly (Digest | null)[], bytesDigest: BytesDigest): Digest | null =>
  digestOfDigests(files, bytesDigest)
