/** Downloads the weights that a run needs into the cache, in parallel. Resumes interrupted downloads. */
import { open } from 'node:fs/promises'
import path from 'node:path'
import { eachStopping } from '../../core/collections/eachOf.js'
import { sha256 } from '../../core/digest.js'
import { openRegular } from '../local/regular.js'
import { linkContent } from './place.js'
import { refuseNoRoom } from './room.js'
import { fetchContent } from './transfer.js'
import type { Content, Fetch } from './types.js'

export interface DownloadOptions {
  /** Called a few times per second with the bytes that are downloaded, and the total. */
  readonly progress?: (done: number, total: number) => void
  readonly signal?: AbortSignal | undefined
  /** Whether to fsync the files. Default: true. */
  readonly sync?: boolean
  /** Adds the model to an error. */
  readonly blame?: (fetch: Fetch, error: unknown) => unknown
}

/** Parallel downloads, each with its own connection. */
const PARALLEL = 8
/** Milliseconds between reports. */
const EVERY = 200

/**
 * Downloads the files that opening the models did not. A file appears under its name only when it is whole and was checked.
 * Errors, with exit 1: `disk-full`, those of `fetchContent` and of changed contents.
 */
export async function download(
  fetches: readonly Fetch[],
  { progress, signal, sync = true, blame = (_, error) => error }: DownloadOptions = {},
): Promise<void> {
  if (fetches.length === 0) return
  const total = fetches.reduce((sum, { file }) => sum + file.size, 0)
  const there = fetches.map(() => 0)
  let last = 0
  const report = (): void => {
    const now = performance.now()
    const done = there.reduce((sum, bytes) => sum + bytes, 0)
    if (done < total && now - last < EVERY) return
    last = now
    progress?.(done, total)
  }
  await checkRoom(fetches)
  // If one download fails, the others stop. The next run resumes them.
  await eachStopping(
    [...fetches.keys()],
    PARALLEL,
    async (index, signal) => {
      const { content } = fetches[index]!
      const bytes = (count: number): void => {
        there[index] = count
        report()
      }
      try {
        await fetchContent(content, { exit: 1, progress: bytes, signal, sync })
        await linkContent(content.target, content.place, content.size)
        await checkHeader(fetches[index]!)
      } catch (error) {
        throw blame(fetches[index]!, error)
      }
    },
    signal,
  )
}

/** Checks the free disk space of each cache for the rest of the downloads. Error: `disk-full`. */
async function checkRoom(fetches: readonly Fetch[]): Promise<void> {
  const caches = new Map<string, { readonly first: Content; readonly wanted: Map<string, number> }>()
  for (const { content } of fetches) {
    const handle = await open(`${content.target}.incomplete`, 'r').catch(() => undefined)
    const have = (await handle?.stat())?.size ?? 0
    await handle?.close()
    const found = caches.get(content.cache.folder) ?? { first: content, wanted: new Map() }
    caches.set(content.cache.folder, found)
    found.wanted.set(content.target, Math.max(0, content.size - have))
  }
  for (const { first, wanted } of caches.values()) {
    const bytes = [...wanted.values()].reduce((sum, size) => sum + size, 0)
    await refuseNoRoom(first.cache, path.dirname(first.place), bytes, 1)
  }
}

/** Checks that a file starts with the header that the plan was made from. */
async function checkHeader({ place, headerBytes, headerDigest, content }: Fetch): Promise<void> {
  const { handle } = await openRegular(place)
  try {
    const bytes = new Uint8Array(headerBytes)
    let at = 0
    for (let got = -1; got !== 0 && at < headerBytes; at += got)
      got = (await handle.read(bytes, at, headerBytes - at, at)).bytesRead
    if (at === headerBytes && sha256(bytes) === headerDigest) return
  } finally {
    await handle.close()
  }
  throw content.changed(1)
}
