import { mkdir, stat } from 'node:fs/promises'
import path from 'node:path'

/**
 * Makes a folder and its missing parents, and returns the topmost folder that it made. Node's own recursive `mkdir` never ends
 * on file systems such as /proc, which report ENOENT although the parent exists.
 */
export async function makeFolder(folder: string): Promise<string | undefined> {
  const make = async (): Promise<boolean> => {
    try {
      await mkdir(folder)
      return true
    } catch (error) {
      if ((await stat(folder).catch(() => undefined))?.isDirectory()) return false
      throw error
    }
  }
  try {
    return (await make()) ? folder : undefined
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT' || path.dirname(folder) === folder) throw error
  }
  const above = await makeFolder(path.dirname(folder))
  return (await make()) ? (above ?? folder) : above
}
