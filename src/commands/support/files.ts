/** Text files that a command writes at the user's word: saved recipes, reports. */
import { open, rename, rm, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { fault } from '../../core/diagnostics.js'

/** Writes a file that must not exist yet. Fault: `file-exists`, `missing-folder`. */
export async function writeNewText(file: string, text: string): Promise<void> {
  const handle = await open(file, 'wx').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'EEXIST')
      throw fault('file-exists', `${file}: exists and is not replaced`, 'choose another name, or remove it')
    if (error.code === 'ENOENT')
      throw fault('missing-folder', `${file}: there is no folder ${path.dirname(file)}`, 'create the folder first')
    throw error
  })
  try {
    await handle.writeFile(text)
  } catch (error) {
    await rm(file, { force: true })
    throw error
  } finally {
    await handle.close()
  }
}

/** Writes a file, or replaces one whole: nobody sees half of it. */
export async function replaceText(file: string, text: string): Promise<void> {
  const fresh = path.join(path.dirname(file), `.${path.basename(file)}.${process.pid}`)
  try {
    // Unlinked first, and made new: a link that was planted under the name is not followed.
    await rm(fresh, { force: true })
    await writeFile(fresh, text, { flag: 'wx' })
    await rename(fresh, file)
  } catch (error) {
    await rm(fresh, { force: true })
    throw error
  }
}
