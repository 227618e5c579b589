import { createHash } from 'node:crypto'

/** SHA-256 (FIPS 180-4) of bytes or of a text in UTF-8: `sha256:` and 64 lower-case hexadecimal digits. */
export const sha256 = (content: string | Uint8Array): `sha256:${string}` =>
  `sha256:${createHash('sha256').update(content).digest('hex')}`

/**
 * The text form of a 16-byte tree digest: `xxh3t:` and 32 hexadecimal digits. See kernels/treeDigest.ts for what is
 * hashed.
 */
export const formatXxh3 = (bytes: Uint8Array): `xxh3t:${string}` => {
  if (bytes.length !== 16) throw new Error(`internal: an XXH3 digest of ${bytes.length} bytes`)
  return `xxh3t:${Buffer.from(bytes.buffer, bytes.byteOffset, 16).toString('hex')}`
}
