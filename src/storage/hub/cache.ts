/**
 * The hub's cache, in the layout that all hub libraries share, so that each can use the downloads of the others:
 *
 *     models--ORG--NAME/blobs/DIGEST               contents
 *     models--ORG--NAME/refs/REVISION              the last known commit of a branch or tag
 *     models--ORG--NAME/snapshots/COMMIT/PATH      a link to the content
 */
import { copyFile, link, mkdir, readdir, stat, symlink, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { move } from '../../core/system/disk.js'
import { leadsDown } from '../leadsDown.js'
import { readRegular } from '../local/regular.js'
import type { HubFile } from './repository.js'
import { isCommit } from './repository.js'
import { hubSettings } from './settings.js'

const repositoryFolder = (cache: string, repository: string): string =>
  path.join(cache, `models--${repository.replaceAll('/', '--')}`)

/** The folder of a repository at a commit, or a subfolder of it. */
export const snapshotFolder = (cache: string, repository: string, commit: string, subfolder = ''): string =>
  path.join(repositoryFolder(cache, repository), 'snapshots', commit, ...subfolder.split('/'))

/** The cache folder for files at a commit, whether they exist or not. */
export const cachedPlace = (repository: string, commit: string, subfolder = ''): string =>
  snapshotFolder(hubSettings().cache, repository, commit, subfolder)

export const blobFile = (cache: string, repository: string, blob: string): string =>
  path.join(repositoryFolder(cache, repository), 'blobs', blob)

/** In bytes. A commit has 40. */
const MAX_REF_BYTES = 1000

/** The commit of a branch or tag, according to the cache. */
export async function cachedCommit(cache: string, repository: string, revision: string): Promise<string | undefined> {
  if (!leadsDown(revision)) return undefined
  const file = path.join(repositoryFolder(cache, repository), 'refs', ...revision.split('/'))
  const text = (await readRegular(file, { most: MAX_REF_BYTES }).catch(() => '')).toString().trim()
  return isCommit(text) ? text : undefined
}

/** Makes the temporary names of one process unique. */
let made = 0
const freshName = (name: string): string => `.${name}.${process.pid}-${made++}`

/** Records the commit of a branch or tag in the cache. Does nothing if the cache is read-only. */
export async function noteCommit(cache: string, repository: string, revision: string, commit: string): Promise<void> {
  if (revision === commit || !leadsDown(revision) || (await cachedCommit(cache, repository, revision)) === commit)
    return
  const file = path.join(repositoryFolder(cache, repository), 'refs', ...revision.split('/'))
  try {
    await mkdir(path.dirname(file), { recursive: true })
    const fresh = path.join(path.dirname(file), freshName(path.basename(file)))
    await writeFile(fresh, commit)
    await move(fresh, file)
  } catch {}
}

/** Names in a snapshot's folder; empty if it does not exist. */
export const cachedNames = (folder: string): Promise<string[]> => readdir(folder).catch(() => [])

/** Whether a cached file has the right size. Its content was checked when it was downloaded. */
export const isCached = async (file: string, size: number): Promise<boolean> =>
  (await stat(file).catch(() => undefined))?.size === size

/** Links a downloaded file to its path in a snapshot. */
export async function placeInSnapshot(cache: string, repository: string, commit: string, file: HubFile): Promise<void> {
  const content = blobFile(cache, repository, file.blob)
  const place = snapshotFolder(cache, repository, commit, file.path)
  if (await isCached(place, file.size)) return
  const folder = path.dirname(place)
  await mkdir(folder, { recursive: true })
  const fresh = path.join(folder, freshName(path.basename(place)))
  // Symbolic links where they are supported, as in the other libraries; relative, so that the cache can be moved.
  await symlink(path.relative(folder, content), fresh)
    .catch(() => link(content, fresh))
    .catch(() => copyFile(content, fresh))
  await move(fresh, place)
}
