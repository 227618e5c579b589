/** What is in folders, and where paths with links lead. */
import { type Dirent, opendirSync, realpathSync, statSync } from 'node:fs'
import path from 'node:path'
import { FileProblem } from './regular.js'

export interface FolderEntry {
  readonly name: string
  readonly kind: 'file' | 'folder' | 'link' | 'other'
}

/** Folders of more are not searched. */
export const MOST_ENTRIES = 100_000

/** The entries of a folder, in no order; undefined if there is no such folder. Throws `FileProblem`. */
export function folderEntries(folder: string): readonly FolderEntry[] | undefined {
  const entries: FolderEntry[] = []
  try {
    const open = opendirSync(folder)
    try {
      for (let entry = open.readSync(); entry; entry = open.readSync()) {
        if (entries.length === MOST_ENTRIES)
          throw new FileProblem('size', `has more than ${MOST_ENTRIES} entries, and a pattern is not searched in more`)
        entries.push({ name: entry.name, kind: kindOf(entry) })
      }
    } finally {
      open.closeSync()
    }
  } catch (error) {
    if (error instanceof FileProblem) throw error
    const { code, message } = error as NodeJS.ErrnoException
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined
    throw new FileProblem('system', `cannot be read: ${code ?? message}`, code)
  }
  return entries
}

const kindOf = (entry: Dirent): FolderEntry['kind'] =>
  entry.isFile() ? 'file' : entry.isDirectory() ? 'folder' : entry.isSymbolicLink() ? 'link' : 'other'

/** What a link leads to, with all links followed; undefined if it leads nowhere. */
export function linkTarget(
  file: string,
): { readonly path: string; readonly kind: 'file' | 'folder' | 'other' } | undefined {
  try {
    const target = statSync(file)
    return { path: realpathSync(file), kind: target.isFile() ? 'file' : target.isDirectory() ? 'folder' : 'other' }
  } catch {
    return undefined
  }
}

/** The real path of a file that exists or not. */
export function settle(file: string): string {
  try {
    return realpathSync(file)
  } catch {
    const folder = path.dirname(file)
    return folder === file ? file : path.join(settle(folder), path.basename(file))
  }
}
