/** A local folder with all of its files. */
import { readdir } from 'node:fs/promises'
import path from 'node:path'
import type { OpenFile, Store } from '../types.js'
import { boundsOf, openRegular } from './regular.js'
import { fileSource } from './source.js'

/** Opens a file that the user named. It can be a link to anywhere. Throws `FileProblem`. */
export async function openNamed(file: string, shown: string): Promise<OpenFile> {
  const { handle, size } = await openRegular(file)
  return { ...fileSource(handle, size, shown), close: () => handle.close() }
}

/** Opens a file of a folder. Follows links only inside the folder. Throws `FileProblem`. */
export async function openLocal(folder: string, name: string, shown: string): Promise<OpenFile> {
  const { handle, size } = await openRegular(path.join(folder, ...name.split('/')), await boundsOf(folder))
  return { ...fileSource(handle, size, shown), close: () => handle.close() }
}

export const localStore = (folder: string): Store => ({
  folder,
  list: async (within) => (await readdir(path.join(folder, within))).map((name) => ({ name, held: true })),
  open: (name, shown) => openLocal(folder, name, shown),
  // All files are local already.
  expect() {},
  async hold() {},
})
