/**
 * Digests of stored tensors in files that a run fetches and drops. With them, a resumed run can check records without fetching a file
 * again, if the identity of the file tells its content.
 */
import { sha256 } from '../../core/digest.js'

/** A file's digests: by identity, then by place. */
export type StoredDigests = ReadonlyMap<string, ReadonlyMap<string, string>>

/** A digest of the bytes at an offset of a file. */
export interface StoredDigest {
  readonly offset: number
  readonly bytes: number
  readonly digest: string
}

export const placeKey = ({ offset, bytes }: Pick<StoredDigest, 'offset' | 'bytes'>): string => `${offset} ${bytes}`

/** Digests of one file as one line of text, with a checksum to detect damaged lines. */
export function digestsLine(identity: string, digests: readonly StoredDigest[]): string {
  const text = JSON.stringify({
    file: identity,
    stored: digests.map(({ offset, bytes, digest }) => [offset, bytes, digest]),
  })
  return `[${text},"${sha256(text)}"]`
}

/** Reads lines of digests among others; damaged ones are skipped. */
export function parseDigests(lines: Iterable<string>): StoredDigests {
  const found = new Map<string, Map<string, string>>()
  for (const line of lines) {
    if (!line.startsWith('[{"file":')) continue
    const one = parseLine(line)
    if (!one) continue
    const known = found.get(one.file) ?? new Map<string, string>()
    found.set(one.file, known)
    for (const [offset, bytes, digest] of one.stored) known.set(placeKey({ offset, bytes }), digest)
  }
  return found
}

interface Line {
  readonly file: string
  readonly stored: readonly (readonly [offset: number, bytes: number, digest: string])[]
}

function parseLine(line: string): Line | undefined {
  try {
    const [value, sum] = JSON.parse(line) as [Line, unknown]
    return sum === sha256(JSON.stringify(value)) ? value : undefined
  } catch {
    return undefined
  }
}
