/**
 * The hub's cache as all of its libraries lay it out, so that each finds what another fetched:
 *
 *     models--ORG--NAME/blobs/DIGEST               contents
 *     models--ORG--NAME/refs/REVISION              the commit that a branch or tag stood for when it was last asked
 *     models--ORG--NAME/snapshots/COMMIT/PATH      a link to the content
 */
import { copyFile, link, mkdir, readdir, rename, stat, symlink, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { leadsDown } from '../leadsDown.js'
import { readRegular } from '../local/regular.js'
import type { HubFile } from './repository.js'
import { isCommit } from './repository.js'
import { hubSettings } from './settings.js'

const repositoryFolder = (cache: string, repository: string): string =>
  path.join(cache, `models--${repository.replaceAll('/', '--')}`)

/** The folder of a repository at a commit, or one inside it. */
export const snapshotFolder = (cache: string, repository: string, commit: string, subfolder = ''): string =>
  path.join(repositoryFolder(cache, repository), 'snapshots', commit, ...subfolder.split('/'))

/** Where files of the hub lie in the cache at a commit, whether they are there or not. */
export const cachedPlace = (repository: string, commit: string, subfolder = ''): string =>
  snapshotFolder(hubSettings().cache, repository, commit, subfolder)

export const blobFile = (cache: string, repository: string, blob: string): string =>
  path.join(repositoryFolder(cache, repository), 'blobs', blob)

/** A commit has 40. */
const MAX_REF_BYTES = 1000

/** The commit that the cache has for a branch or tag. */
export async function cachedCommit(cache: string, repository: string, revision: string): Promise<string | undefined> {
  if (!leadsDown(revision)) return undefined
  const file = path.join(repositoryFolder(cache, repository), 'refs', ...revision.split('/'))
  const text = (await readRegular(file, { most: MAX_REF_BYTES }).catch(() => '')).toString().trim()
  return isCommit(text) ? text : undefined
}

/** Tells apart what one process makes at the same time. */
let made = 0
const freshName = (name: string): string => `.${name}.${process.pid}-${made++}`

/** Notes what a branch or tag stands for. A cache that can only be read is none the worse for it. */
export async function noteCommit(cache: string, repository: string, revision: string, commit: string): Promise<void> {
  if (revision === commit || !leadsDown(revision) || (await cachedCommit(cache, repository, revision)) === commit)
    return
  const file = path.join(repositoryFolder(cache, repository), 'refs', ...revision.split('/'))
  try {
    await mkdir(path.dirname(file), { recursive: true })
    const fresh = path.join(path.dirname(file), freshName(path.basename(file)))
    await writeFile(fresh, commit)
    await rename(fresh, file)
  } catch {}
}

/** Names in a snapshot's folder; none where it is not there. */
export const cachedNames = (folder: string): Promise<string[]> => readdir(folder).catch(() => [])

/** Whether a file of the cache has its size. Its content was checked when it came in. */
export const isCached = async (file: string, size: number): Promise<boolean> =>
  (await stat(file).catch(() => undefined))?.size === size

/** Makes a content appear under its path in a snapshot. */
export async function placeInSnapshot(cache: string, repository: string, commit: string, file: HubFile): Promise<void> {
  const content = blobFile(cache, repository, file.blob)
  const place = snapshotFolder(cache, repository, commit, file.path)
  if (await isCached(place, file.size)) return
  const folder = path.dirname(place)
  await mkdir(folder, { recursive: true })
  const fresh = path.join(folder, freshName(path.basename(place)))
  // Links where there are any, as the other libraries do; relative, so that a cache can be moved.
  await symlink(path.relative(folder, content), fresh)
    .catch(() => link(content, fresh))
    .catch(() => copyFile(content, fresh))
  await rename(fresh, place)
}
