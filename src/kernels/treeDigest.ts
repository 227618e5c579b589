/**
 * The digest of a tensor, `xxh3t:` and 32 hexadecimal digits. To recompute it with any XXH3 library:
 *
 *   1. Cut the tensor's bytes into leaves of 262,144 bytes (2¹⁸). The last one can be shorter; an empty tensor has no leaves.
 *   2. XXH3-128 with seed 0 of each leaf, in canonical form: 16 bytes, big-endian.
 *   3. Join these in order, then the tensor's length in bytes as an unsigned 64-bit little-endian number.
 *   4. XXH3-128 with seed 0 of that, in canonical form, in lower-case hexadecimal.
 *
 * It detects accidental changes. It does not protect against deliberate collisions.
 */
import { formatXxh3 } from '../core/digest.js'
import { DIGEST_BYTES, type Kernels, LEAF } from './types.js'

/** The number of leaves of a tensor. */
export const leafCount = (bytes: number): number => Math.ceil(bytes / LEAF)

/** The digest of a tensor from the digests of its leaves, joined in order, and its length in bytes. */
export function treeDigest(
  kernels: Pick<Kernels, 'hash'>,
  leafDigests: Uint8Array,
  totalBytes: number | bigint,
): `xxh3t:${string}` {
  if (leafDigests.length !== leafCount(Number(totalBytes)) * DIGEST_BYTES)
    throw new Error(`internal: ${leafDigests.length} bytes of leaf digests for ${totalBytes} bytes`)
  const joined = new Uint8Array(leafDigests.length + 8)
  joined.set(leafDigests)
  new DataView(joined.buffer).setBigUint64(leafDigests.length, BigInt(totalBytes), true)
  return formatXxh3(kernels.hash(joined))
}

/** The digest of bytes in memory. */
export function bytesDigest(kernels: Pick<Kernels, 'hash'>, bytes: Uint8Array): `xxh3t:${string}` {
  const digests = new Uint8Array(leafCount(bytes.length) * DIGEST_BYTES)
  for (let leaf = 0; leaf * LEAF < bytes.length; leaf++)
    digests.set(kernels.hash(bytes.subarray(leaf * LEAF, (leaf + 1) * LEAF)), leaf * DIGEST_BYTES)
  return treeDigest(kernels, digests, bytes.length)
}
