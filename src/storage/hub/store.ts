/** A folder of a repository at a commit. */
import path from 'node:path'
import { Fault } from '../../core/diagnostics.js'
import { type RemoteStore, remoteStore } from '../remote/store.js'
import { snapshotFolder } from './cache.js'
import { hubContent } from './content.js'
import type { Subject } from './faults.js'
import { type HubFile, listFolder } from './repository.js'
import { cacheOf, type HubSettings } from './settings.js'

export interface HubFolder {
  readonly settings: HubSettings
  readonly subject: Subject & { readonly commit: string }
  /** In the repository. */
  readonly subfolder: string
  /** Maximum attempts to list a folder. Fewer are enough if the cache can be used instead. */
  readonly most?: number
  readonly signal?: AbortSignal | undefined
}

export const hubStore = ({ settings, subject, subfolder, most, signal }: HubFolder): RemoteStore<HubFile> =>
  remoteStore({
    reference: subject.reference,
    folder: snapshotFolder(settings.cache, subject.repository, subject.commit, subfolder),
    cache: cacheOf(settings),
    async list(within) {
      const folder = [subfolder, within].filter((part) => part !== '').join('/')
      const asked = listFolder(settings, subject, folder, { signal, ...(most === undefined ? {} : { most }) })
      const files = await (within === '' ? asked : asked.catch(noFolder))
      return new Map(files.map((file) => [path.posix.basename(file.path), file]))
    },
    content: (file) => hubContent(settings, subject, file),
    signal,
  })

/** A module without files has no folder. */
function noFolder(error: unknown): HubFile[] {
  if (error instanceof Fault && error.diagnostics.every(({ code }) => code === 'hub-entry')) return []
  throw error
}
