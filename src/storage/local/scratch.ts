/** Hidden folders for work whose result is only compared: gone when it ends, and if it was killed, when the next one begins. */
import { lstat, mkdtemp, readdir, rm } from 'node:fs/promises'
import path from 'node:path'
import { takeLock } from './lock.js'
import { isOwned, writeOwner } from './workFolder.js'

const PREFIX = '.terge-verify-'
/** Sets it apart from the work folder of an output, whatever the output is called. */
const RECORD = 'scratch'

/** Makes one, and removes those of killed processes. */
export async function makeScratch(parent: string): Promise<string> {
  for (const name of await readdir(parent))
    if (name.startsWith(PREFIX)) await removeStale(path.join(parent, name)).catch(() => {})
  const folder = await mkdtemp(path.join(parent, PREFIX))
  try {
    await takeLock(folder)
    await writeOwner(folder, false, RECORD)
    return folder
  } catch (error) {
    await rm(folder, { recursive: true, force: true })
    throw error
  }
}

/** Only what terge made here, and nobody works in. */
async function removeStale(folder: string): Promise<void> {
  if (!(await lstat(folder)).isDirectory() || !(await isOwned(folder, RECORD))) return
  if ((await takeLock(folder)) === undefined) await rm(folder, { recursive: true, force: true })
}
