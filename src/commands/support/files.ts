/** Text files that a command writes where the user says: recipes, reports, locks. */
import { open, readFile, rm, stat, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { fault } from '../../core/diagnostics.js'
import { attempt } from '../../core/system/attempt.js'
import { move } from '../../core/system/disk.js'

/**
 * Writes a text where the user says. With `force`, an existing file is replaced. Errors: `file-exists`, `missing-folder`,
 * `cannot-write`, `disk-full`.
 */
export const writeText = (file: string, text: string, { force }: { readonly force: boolean }): Promise<void> =>
  attempt(file, 2, () => writeTextUnder(file, text, force))

async function writeTextUnder(file: string, text: string, force: boolean): Promise<void> {
  const entry = force ? await stat(file).catch(() => undefined) : undefined
  if (!entry) return writeNewText(file, text)
  // Devices and folders are not replaced by a file.
  if (!entry.isFile()) throw fault('file-exists', `${file} is not a regular file`, 'choose another name')
  return replaceText(file, text)
}

/** Whether a file has this text already: a command that is run again does not replace it. */
export const holds = async (file: string, text: string): Promise<boolean> =>
  (await stat(file).catch(() => undefined))?.isFile() === true && (await readFile(file, 'utf8')) === text

/** Writes a file that must not exist yet. Errors: `file-exists`, `missing-folder`. */
async function writeNewText(file: string, text: string): Promise<void> {
  const handle = await open(file, 'wx').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'EEXIST')
      throw fault('file-exists', `${file} already exists`, 'add --force to replace it, or choose another name')
    if (error.code === 'ENOENT')
      throw fault(
        'missing-folder',
        `${file}: the folder ${path.dirname(file)} does not exist`,
        'create the folder first',
      )
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

/** Writes or replaces a file atomically: no reader sees a part of it. Errors: `cannot-write`, `disk-full`. */
export const replaceText = (file: string, text: string): Promise<void> => attempt(file, 2, () => replace(file, text))

async function replace(file: string, text: string): Promise<void> {
  const fresh = path.join(path.dirname(file), `.${path.basename(file)}.${process.pid}`)
  try {
    // Removed and created, so that a link under this name is not followed.
    await rm(fresh, { force: true })
    await writeFile(fresh, text, { flag: 'wx' })
    await move(fresh, file)
  } catch (error) {
    await rm(fresh, { force: true })
    throw error
  }
}
