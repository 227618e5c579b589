/** Hidden folders for results that are only compared. They are removed at the end, or by the next run if a run is killed. */
import { lstat, mkdtemp, readdir } from 'node:fs/promises'
import path from 'node:path'
import { removeTree } from '../../core/system/disk.js'
import { takeLock } from './lock.js'
import { isOwned, writeOwner } from './workFolder.js'

const PREFIX = '.terge-verify-'
/** Distinguishes it from the work folder of an output, whatever the name of the output. */
const RECORD = 'scratch'

/** Makes a scratch folder, and removes those of killed processes. */
export async function makeScratch(parent: string): Promise<string> {
  for (const name of await readdir(parent))
    if (name.startsWith(PREFIX)) await removeStale(path.join(parent, name)).catch(() => {})
  const folder = await mkdtemp(path.join(parent, PREFIX))
  try {
    await takeLock(folder)
    await writeOwner(folder, false, RECORD)
    return folder
  } catch (error) {
    await removeTree(folder)
    throw error
  }
}

/** Removes a folder if terge made it here and no process uses it. */
async function removeStale(folder: string): Promise<void> {
  if (!(await lstat(folder)).isDirectory() || !(await isOwned(folder, RECORD))) return
  if ((await takeLock(folder)) === undefined) await removeTree(folder)
}
