/**
 * The hub's cache, in the layout that all hub libraries share, so that each can use the downloads of the others:
 *
 *     models--ORG--NAME/blobs/DIGEST               contents
 *     models--ORG--NAME/refs/REVISION              the last known commit of a branch or tag
 *     models--ORG--NAME/snapshots/COMMIT/PATH      a link to the content
 */
import { mkdir, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { move } from '../../core/system/disk.js'
import { leadsDown } from '../leadsDown.js'
import { readRegular } from '../local/regular.js'
import { freshName } from '../remote/place.js'
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
