/** A folder of a repository at a commit. Reads cached files from the cache, downloads small files into it, and reads large files by ranges. */
import path from 'node:path'
import { eachOf, mapEach } from '../../core/collections/eachOf.js'
import { Fault, fault } from '../../core/diagnostics.js'
import { formatSize } from '../../core/sizes.js'
import { plural } from '../../core/words.js'
import { openLocal } from '../local/store.js'
import type { Listed, Store } from '../types.js'
import { cachedNames, isCached, placeInSnapshot, snapshotFolder } from './cache.js'
import type { Subject } from './faults.js'
import { type HubFile, listFolder } from './repository.js'
import { refuseNoRoom } from './room.js'
import type { HubSettings } from './settings.js'
import { type RemoteSource, remoteSource } from './source.js'
import { fetchContent } from './transfer.js'

/** Parallel downloads. */
const PARALLEL = 8
/** Maximum number and total bytes of small files: more than any model has beside its weights. */
const MOST_FILES = 200
const MOST_BYTES = 256 * 2 ** 20

export interface HubStore extends Store {
  /** Files that were opened but are not in the cache, by name. */
  readonly lacking: ReadonlyMap<string, HubFile>
}

export interface HubFolder {
  readonly settings: HubSettings
  readonly subject: Subject & { readonly commit: string }
  /** In the repository. */
  readonly subfolder: string
  /** Maximum attempts to list a folder. Fewer are enough if the cache can be used instead. */
  readonly most?: number
  readonly signal?: AbortSignal | undefined
}

export function hubStore({ settings, subject, subfolder, most, signal }: HubFolder): HubStore {
  const { repository, commit } = subject
  const folder = snapshotFolder(settings.cache, repository, commit, subfolder)
  const start = subfolder === '' ? 0 : subfolder.length + 1
  const known = new Map<string, HubFile>()
  const listed = new Map<string, Promise<readonly string[]>>()
  const lacking = new Map<string, HubFile>()
  const sources = new Map<string, RemoteSource>()
  const placeOf = (name: string): string => path.join(folder, ...name.split('/'))

  /** Lists the names of a folder on the hub. */
  function published(within: string): Promise<readonly string[]> {
    const asked = listFolder(settings, subject, [subfolder, within].filter((part) => part !== '').join('/'), {
      signal,
      ...(most === undefined ? {} : { most }),
    })
    return (within === '' ? asked : asked.catch(noFolder)).then((files) => {
      for (const file of files) known.set(file.path.slice(start), file)
      return files.map((file) => path.posix.basename(file.path))
    })
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
    const made = sources.get(name) ?? remoteSource(settings, subject, file, `${subject.reference}/${name}`, signal)
    sources.set(name, made)
    return made
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
      refuseMany(subject.reference, files)
      const place = (file: HubFile) => snapshotFolder(settings.cache, repository, commit, file.path)
      const there = await mapEach(files, PARALLEL, (file) => isCached(place(file), file.size))
      const missing = files.filter((_, index) => !there[index])
      const bytes = missing.reduce((sum, { size }) => sum + size, 0)
      await refuseNoRoom(settings, folder, bytes, 2)
      await eachOf(missing, PARALLEL, async (file) => {
        await fetchContent({ settings, subject, file, signal })
        await placeInSnapshot(settings.cache, repository, commit, file)
      })
    },
  }
}

/** Error `too-large` if a folder has more small files than any model has. */
function refuseMany(reference: string, files: readonly HubFile[]): void {
  const bytes = files.reduce((sum, { size }) => sum + size, 0)
  if (files.length <= MOST_FILES && bytes <= MOST_BYTES) return
  throw fault(
    'too-large',
    `${reference}: ${plural(files.length, 'file')} of configuration, tokenizer and code, ${formatSize(bytes)} in total: no real model has that many`,
    `terge downloads at most ${MOST_FILES} files and ${formatSize(MOST_BYTES)}; set subfolder to the folder of the model, or download it yourself`,
  )
}

/** A module without files has no folder. */
function noFolder(error: unknown): HubFile[] {
  if (error instanceof Fault && error.diagnostics.every(({ code }) => code === 'hub-entry')) return []
  throw error
}
