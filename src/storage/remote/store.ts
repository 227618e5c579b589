/** A folder elsewhere. Reads cached files from the cache, downloads small files into it, and reads large files by ranges. */
import path from 'node:path'
import { eachOf, mapEach } from '../../core/collections/eachOf.js'
import { fault } from '../../core/diagnostics.js'
import { formatSize } from '../../core/sizes.js'
import { plural } from '../../core/words.js'
import { openLocal } from '../local/store.js'
import type { Listed, Store } from '../types.js'
import { blockSource, type RemoteSource } from './blocks.js'
import { cachedNames, isCached, linkContent } from './place.js'
import { refuseNoRoom } from './room.js'
import { fetchContent } from './transfer.js'
import type { Cache, Content, Fetch, RemoteFile } from './types.js'

/** Parallel downloads. */
const PARALLEL = 8
/** Maximum number and total bytes of small files: more than any model has beside its weights. */
const MOST_FILES = 200
const MOST_BYTES = 256 * 2 ** 20

/** What a remote store has to know of a place for files. */
export interface RemoteFolder<File extends RemoteFile> {
  /** The model as written, for messages. */
  readonly reference: string
  /** Whether the reference is that of the only file with tensors. */
  readonly single?: boolean
  /** In the cache. */
  readonly folder: string
  readonly cache: Cache
  /** Lists the files of a subfolder: names in the subfolder, and files. */
  readonly list: (within: string) => Promise<ReadonlyMap<string, File>>
  readonly content: (file: File) => Content
  readonly signal?: AbortSignal | undefined
}

export interface RemoteStore<File> extends Store {
  /** Files that were opened but are not in the cache, by name. */
  readonly lacking: ReadonlyMap<string, File>
}

export function remoteStore<File extends RemoteFile>(remote: RemoteFolder<File>): RemoteStore<File> {
  const { reference, folder, cache, content, signal } = remote
  const known = new Map<string, File>()
  const listed = new Map<string, Promise<readonly string[]>>()
  const lacking = new Map<string, File>()
  const sources = new Map<string, RemoteSource>()
  const placeOf = (name: string): string => path.join(folder, ...name.split('/'))

  /** Lists the names of a folder. */
  async function published(within: string): Promise<readonly string[]> {
    const files = await remote.list(within)
    for (const [name, file] of files) known.set(path.posix.join(within, name), file)
    return [...files.keys()]
  }

  function namesIn(within: string): Promise<readonly string[]> {
    const names = listed.get(within) ?? published(within)
    listed.set(within, names)
    return names
  }

  /** The source of a file that is not in the cache. */
  async function sourceOf(name: string): Promise<RemoteSource | undefined> {
    if (!known.has(name)) await namesIn(path.posix.dirname(name).replace(/^\.$/, ''))
    const file = known.get(name)
    if (!file || (await isCached(placeOf(name), file.size))) return undefined
    lacking.set(name, file)
    const made = sources.get(name) ?? sourceFor(name, file)
    sources.set(name, made)
    return made
  }

  function sourceFor(name: string, file: File): RemoteSource {
    const { get, explain } = content(file)
    const shown = remote.single ? reference : `${reference.replace(/\/+$/, '')}/${name}`
    return blockSource({
      ...{ name: shown, size: file.size, signal },
      get: (range) => get({ range, signal }),
      explain: (error) => explain(error, 2, shown),
    })
  }

  return {
    folder,
    lacking,
    async list(within) {
      const there = new Set(await cachedNames(path.join(folder, within)))
      const all = new Set([...there, ...(await namesIn(within))])
      return [...all].map((name): Listed => {
        const size = known.get(path.posix.join(within, name))?.size
        return { name, held: there.has(name), ...(size === undefined ? {} : { size }) }
      })
    },
    expect(names) {
      // Errors are ignored here: opening the file reports them.
      eachOf(names, PARALLEL, async (name) => (await sourceOf(name))?.begin()).catch(() => {})
    },
    async open(name, shown) {
      const source = await sourceOf(name)
      return source ? { ...source, close: async () => {} } : openLocal(folder, name, shown)
    },
    async hold(names) {
      const files = names.flatMap((name) => known.get(name) ?? [])
      refuseMany(reference, files)
      const contents = files.map(content)
      const there = await mapEach(contents, PARALLEL, ({ place, size }) => isCached(place, size))
      const missing = contents.filter((_, index) => !there[index])
      const bytes = missing.reduce((sum, { size }) => sum + size, 0)
      await refuseNoRoom(cache, folder, bytes, 2)
      await eachOf(missing, PARALLEL, async (one) => {
        await fetchContent(one, { signal })
        await linkContent(one.target, one.place, one.size)
      })
    },
  }
}

/** What is still to be downloaded of a model's files with tensors. */
export const fetchesOf = <File extends RemoteFile>(
  { lacking }: RemoteStore<File>,
  content: (file: File) => Content,
  identity: (file: File) => string,
  files: readonly Pick<Fetch & { name: string; path: string }, 'name' | 'path' | 'headerBytes' | 'headerDigest'>[],
): Fetch[] =>
  files.flatMap(({ name, path: place, headerBytes, headerDigest }) => {
    const file = lacking.get(name)
    return file ? [{ file, content: content(file), place, identity: identity(file), headerBytes, headerDigest }] : []
  })

/** Error `too-large` if a folder has more small files than any model has. */
function refuseMany(reference: string, files: readonly RemoteFile[]): void {
  const bytes = files.reduce((sum, { size }) => sum + size, 0)
  if (files.length <= MOST_FILES && bytes <= MOST_BYTES) return
  throw fault(
    'too-large',
    `${reference}: ${plural(files.length, 'file')} of configuration, tokenizer and code, ${formatSize(bytes)} in total: no real model has that many`,
    `terge downloads at most ${MOST_FILES} files and ${formatSize(MOST_BYTES)}; set subfolder to the folder of the model, or download it yourself`,
  )
}
