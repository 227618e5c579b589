/** Files of a cache: one with each content, and links to it in the folders of models. */
import { copyFile, link, mkdir, readdir, stat, symlink } from 'node:fs/promises'
import path from 'node:path'
import { move } from '../../core/system/disk.js'

/** Makes the temporary names of one process unique. */
let made = 0
export const freshName = (name: string): string => `.${name}.${process.pid}-${made++}`

/** Names in a cached folder; empty if it does not exist. */
export const cachedNames = (folder: string): Promise<string[]> => readdir(folder).catch(() => [])

/** Whether a cached file has the right size. Its content was checked when it was downloaded. */
export const isCached = async (file: string, size: number): Promise<boolean> =>
  (await stat(file).catch(() => undefined))?.size === size

/** Links a downloaded content to its place in a model's folder. */
export async function linkContent(content: string, place: string, size: number): Promise<void> {
  if (await isCached(place, size)) return
  const folder = path.dirname(place)
  await mkdir(folder, { recursive: true })
  const fresh = path.join(folder, freshName(path.basename(place)))
  // Symbolic links where they are supported, as in the other libraries; relative, so that the cache can be moved.
  await symlink(path.relative(folder, content), fresh)
    .catch(() => link(content, fresh))
    .catch(() => copyFile(content, fresh))
  await move(fresh, place)
}
