import { createHash } from 'node:crypto'

/** SHA-256 (FIPS 180-4) of a text's UTF-8 or of bytes, as `sha256:` and 64 lower-case hexadecimal digits. */
export const sha256 = (content: string | Uint8Array): `sha256:${string}` =>
  `sha256:${createHash('sha256').update(content).digest('hex')}`

/** The text form of a tree digest of 16 bytes (kernels/treeDigest.ts says what is hashed): `xxh3t:` and 32 hexadecimal digits. */
export const formatXxh3 = (bytes: Uint8Array): `xxh3t:${string}` => {
  if (bytes.length !== 16) throw new Error(`internal: an XXH3 digest of ${bytes.length} bytes`)
  return `xxh3t:${Buffer.from(bytes.buffer, bytes.byteOffset, 16).toString('hex')}`
}
