/** Hidden folders for work of one process. They are removed at the end, or by a later run if a run is killed. */
import { lstat, mkdir, mkdtemp, readdir } from 'node:fs/promises'
import path from 'node:path'
import { removeTree } from '../../core/system/disk.js'
import { releaseLock, takeLock } from './lock.js'
import { isOwned, writeOwner } from './workFolder.js'

/** What a folder is for: the beginning of its name. */
export type ScratchKind = '.terge-verify-' | 'inputs-' | 'part-'

/** Distinguishes it from the work folder of an output, whatever the name of the output. */
const RECORD = 'scratch'

/** Makes a scratch folder, and removes those of killed processes. */
export async function makeScratch(parent: string, kind: ScratchKind): Promise<string> {
  await sweepScratch(parent, kind)
  return newScratch(parent, kind)
}

/** Makes a scratch folder. This process holds its lock. */
export async function newScratch(parent: string, kind: ScratchKind): Promise<string> {
  await mkdir(parent, { recursive: true })
  const folder = await mkdtemp(path.join(parent, kind))
  try {
    await takeLock(folder)
    await writeOwner(folder, false, RECORD)
    return folder
  } catch (error) {
    await removeTree(folder)
    throw error
  }
}

/** Removes a folder of this process. Another one can find it while it goes, and then removes the rest. Never throws. */
export const removeScratch = (folder: string): Promise<void> => removeTree(folder).catch(() => {})

/** Removes the folders that no process uses. */
export async function sweepScratch(parent: string, kind: ScratchKind): Promise<void> {
  for (const folder of await takeStale(parent, kind)) await removeTree(folder).catch(() => {})
}

/** The folders that no process uses any more. This process holds their locks then, and has to remove them. */
export async function takeStale(parent: string, kind: ScratchKind): Promise<string[]> {
  const stale: string[] = []
  for (const name of await readdir(parent).catch((): string[] => [])) {
    const folder = path.join(parent, name)
    if (name.startsWith(kind) && (await isStale(folder).catch(() => false))) stale.push(folder)
  }
  return stale
}

/** Keeps a folder for a later run. */
export const leaveScratch = (folder: string): Promise<void> => releaseLock(folder)

/** Whether terge made a folder here and no process uses it. */
const isStale = async (folder: string): Promise<boolean> =>
  (await lstat(folder)).isDirectory() && (await isOwned(folder, RECORD)) && (await takeLock(folder)) === undefined
