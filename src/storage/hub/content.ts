/** A file of a repository as content that the cache can download. */
import { createHash, type Hash } from 'node:crypto'
import path from 'node:path'
import { fault } from '../../core/diagnostics.js'
import type { Content } from '../remote/types.js'
import { blobFile, snapshotFolder } from './cache.js'
import { hubFault, type Subject } from './faults.js'
import type { HubFile } from './repository.js'
import { get } from './request.js'
import { cacheOf, type HubSettings } from './settings.js'

/** The URL of a file at a commit. */
const addressOf = (settings: HubSettings, repository: string, commit: string, file: HubFile): string =>
  `${settings.endpoint}/${repository}/resolve/${commit}/${file.path.split('/').map(encodeURIComponent).join('/')}`

/** Git's digest covers a prefix with the length. */
const digestOf = ({ sha256, size }: HubFile): Hash =>
  sha256 === undefined ? createHash('sha1').update(`blob ${size}\0`) : createHash('sha256')

/** Errors: `hub-digest`, `hub-changed`, those of `hubFault`. */
export function hubContent(
  settings: HubSettings,
  subject: Subject & { readonly commit: string },
  file: HubFile,
): Content {
  const { reference, repository, commit } = subject
  const target = blobFile(settings.cache, repository, file.blob)
  const locks = path.join(settings.cache, '.locks', path.basename(path.dirname(path.dirname(target))))
  const address = addressOf(settings, repository, commit, file)
  return {
    reference,
    path: file.path,
    size: file.size,
    cache: cacheOf(settings),
    target,
    lock: path.join(locks, `${file.blob}.terge`),
    place: snapshotFolder(settings.cache, repository, commit, file.path),
    get: (ask) => get(settings, address, ask),
    checks: async () => () => {
      const hash = digestOf(file)
      return { update: (bytes) => void hash.update(bytes), matches: () => hash.digest('hex') === file.blob }
    },
    explain: (error, exit, shown = reference) =>
      hubFault(error, settings, { ...subject, reference: shown, entry: file.path, exit }),
    wrong: (exit) =>
      fault(
        'hub-digest',
        `${reference}: ${file.path} was downloaded twice, both times with a different digest than the hub publishes`,
        'something between the hub and this machine changes the data, or the repository is damaged; the file was not kept',
        exit,
      ),
    changed: (exit) =>
      fault(
        'hub-changed',
        `${reference}: ${file.path} does not start with the header that the plan was made from`,
        'run again; if that does not help, something between the hub and this machine changes the data',
        exit,
      ),
  }
}
