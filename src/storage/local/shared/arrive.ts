/** The way of files from the work folder of several processes to the work folder of an output, and back. */
import { cp } from 'node:fs/promises'
import { move, removeTree } from '../../../core/system/disk.js'
import { exists } from '../recover.js'

/** Undoes an interrupted publication: the files are in their own folder again. */
export async function bringBack(files: string, from: string): Promise<void> {
  if ((await exists(files)) && !(await exists(from))) await moveTree(files, from)
}

/** Moves a folder, also to another file system. The old one is complete until the new one is. */
export async function moveTree(from: string, to: string): Promise<void> {
  await removeTree(to)
  try {
    await move(from, to)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EXDEV') throw error
    await cp(from, to, { recursive: true, force: false, errorOnExist: true, verbatimSymlinks: true })
    // At once: a part of it would look like files that are still here.
    await move(from, `${from}.moved`)
    await removeTree(`${from}.moved`)
  }
}
