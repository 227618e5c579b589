import { Buffer } from 'node:buffer'
import type { Digest } from './types.js'

/** Computes `xxh3t:…` of some bytes, the tree digest of tensors. */
export type BytesDigest = (bytes: Uint8Array) => Digest

/** Digest of a list of digests: of their texts, each followed by a line feed. Null if one of them is. */
function digestOfDigests(digests: readonly (Digest | null)[], bytesDigest: BytesDigest): Digest | null {
  if (digests.includes(null)) return null
  return bytesDigest(Buffer.from(digests.map((digest) => `${digest}\n`).join('')))
}

/**
 * Digest of a file with tensors: of its header's digest and the tensors' digests in file order. It follows from the tensors' digests,
 * so no byte is read twice. Null if a tensor has no digest.
 */
export const fileDigest = (
  headerDigest: Digest,
  tensors: readonly (Digest | null)[],
  bytesDigest: BytesDigest,
): Digest | null => digestOfDigests([headerDigest, ...tensors], bytesDigest)

/** Digest of a whole output: of its files' digests in the lineage's order. Names are not part of it. */
export const wholeDigest = (files: readonly (Digest | null)[], bytesDigest: BytesDigest): Digest | null =>
  digestOfDigests(files, bytesDigest)
