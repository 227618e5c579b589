/**
 * Remembers the SHA-256 of large files in the user's cache. An entry counts only for a file with the same path, inode, size and change times
 * whose tree digest, which a run computes from all tensors, is the same as well.
 */
import { mkdir, realpath } from 'node:fs/promises'
import path from 'node:path'
import { isObject } from '../../core/json/text.js'
import { move } from '../../core/system/disk.js'
import type { Digest } from '../../lineage/types.js'
import { cacheRoot } from '../../storage/local/cacheRoot.js'
import { type InputState, inputStates } from '../../storage/local/inputStates.js'
import { readOwn, writeNew } from '../../storage/local/workFolder.js'
import { freshName } from '../../storage/remote/place.js'

/** What is remembered of a file. */
interface Entry {
  readonly state: string
  /** Its tree digest. */
  readonly digest: Digest
  readonly sha256: Digest
}

/** A file whose SHA-256 is known now. */
export interface Summed {
  readonly path: string
  readonly digest: Digest
  readonly sha256: Digest
}

export interface Memo {
  /** The entry of a file in its present state, if there is one. Only `digest` of all of its bytes makes it certain. */
  find(file: string): Promise<Entry | undefined>
}

/** In bytes. Hashing a smaller file again takes a few milliseconds. */
export const LEAST_REMEMBERED = 16 * 2 ** 20
/** The oldest entries are dropped. */
const MOST_ENTRIES = 5000
/** In bytes. */
const MOST_TEXT = 16 * 2 ** 20

const memoFile = (): string => path.join(cacheRoot(), 'sums.json')

type Row = readonly [file: string, state: string, digest: Digest, sha256: Digest]

const isRow = (row: unknown): row is Row =>
  Array.isArray(row) &&
  row.length === 4 &&
  row.every((cell) => typeof cell === 'string') &&
  /^xxh3t:[0-9a-f]{32} sha256:[0-9a-f]{64}$/.test(`${row[2]} ${row[3]}`)

/** The rows of the file; none if there is no such file, or it is damaged. */
async function readRows(): Promise<readonly Row[]> {
  try {
    const found: unknown = JSON.parse((await readOwn(memoFile(), MOST_TEXT)) ?? '')
    return isObject(found) && found.sums === 1 && Array.isArray(found.files) ? found.files.filter(isRow) : []
  } catch {
    return []
  }
}

/** Reads what is remembered, when it is asked for the first time. */
export function openMemo(): Memo {
  let rows: Promise<ReadonlyMap<string, Entry>> | undefined
  return {
    async find(file) {
      rows ??= readRows().then(
        (all) => new Map(all.map(([file, state, digest, sha256]) => [file, { state, digest, sha256 }])),
      )
      const [known, now] = [await rows, await presentState(file)]
      const entry = now && known.get(now.path)
      return entry && entry.state === now.state ? entry : undefined
    },
  }
}

/** Remembers files. Never throws: without a cache, files are hashed again. */
export async function remember(files: readonly Summed[]): Promise<void> {
  if (files.length === 0) return
  try {
    const fresh = new Map<string, Row>()
    for (const { path: file, digest, sha256 } of files) {
      const now = await presentState(file)
      if (now?.state !== undefined) fresh.set(now.path, [now.path, now.state, digest, sha256])
    }
    const before = (await readRows()).filter(([file]) => !fresh.has(file))
    const rows = [...before, ...fresh.values()].slice(-MOST_ENTRIES)
    const target = memoFile()
    await mkdir(path.dirname(target), { recursive: true })
    const next = path.join(path.dirname(target), freshName('sums.json'))
    await writeNew(next, `${JSON.stringify({ sums: 1, files: rows })}\n`)
    await move(next, target)
  } catch {
    // The cache may be on a full disk, or not be writable.
  }
}

/** The state of a file, without links in its path. */
async function presentState(file: string): Promise<InputState | undefined> {
  const real = await realpath(file).catch(() => undefined)
  return real === undefined ? undefined : (await inputStates([real])).inputs[0]
}
