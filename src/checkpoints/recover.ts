/** The places of an output's unfinished work, and how work that was cut off is undone or brought to an end. */
import { lstat, open, readdir, rename, rm } from 'node:fs/promises'
import path from 'node:path'
import { isLock } from './lock.js'

/** Called before each change of the file system, with a name for it. */
export type Step = (name: string) => void

/** All paths absolute. */
export interface Place {
  readonly output: string
  readonly kind: 'file' | 'folder'
  /** The hidden folder. */
  readonly folder: string
  /** Where the output's files are staged. */
  readonly files: string
  readonly old: string
  readonly commit: string
  /** Of a single file, its lineage: in its place, staged, and the one that it replaces. */
  readonly lineage: { readonly published: string; readonly staged: string; readonly old: string }
}

export function placeOf(output: string, kind: Place['kind']): Place {
  const name = path.basename(output)
  const folder = path.join(path.dirname(output), `.terge-${name}`)
  const files = path.join(folder, 'new')
  const old = path.join(folder, 'old')
  const lineage = lineageName(name)
  return {
    output,
    kind,
    folder,
    files,
    old,
    commit: path.join(folder, 'commit'),
    lineage: {
      published: path.join(path.dirname(output), lineage),
      staged: path.join(files, lineage),
      old: path.join(old, lineage),
    },
  }
}

/** `NAME.lineage.json` beside a single file `NAME.safetensors`. */
const lineageName = (fileName: string): string => `${fileName.replace(/\.safetensors$/, '')}.lineage.json`

/**
 * Undoes publishing that had begun and not come to its one decisive rename, so that all is staged again and what was
 * there before is back. True if the rename had happened: then the output is whole, and only tidying is left.
 * May itself be cut off anywhere and called again.
 */
export async function moveBack({ output, kind, files, old, commit, lineage }: Place, step: Step): Promise<boolean> {
  if (!(await exists(commit))) return false
  if (!(await exists(kind === 'folder' ? files : path.join(files, path.basename(output))))) return true
  if (kind === 'folder') {
    const before = path.join(old, 'output')
    step('undo old')
    if ((await exists(before)) && !(await exists(output))) await rename(before, output)
  } else {
    step('undo lineage')
    if (!(await exists(lineage.staged)) && (await exists(lineage.published)))
      await rename(lineage.published, lineage.staged)
    step('undo old lineage')
    if (await exists(lineage.old)) await rename(lineage.old, lineage.published)
  }
  step('undo commit')
  await rm(commit)
  return false
}

/** Empties the hidden folder but for the lock. The commit goes last, since what the rest means depends on it. */
export async function tidy({ folder, commit }: Pick<Place, 'folder' | 'commit'>, step: Step): Promise<void> {
  for (const name of (await readdir(folder)).filter((name) => name !== path.basename(commit) && !isLock(name)).sort()) {
    step(`remove ${name}`)
    await rm(path.join(folder, name), { recursive: true, force: true })
  }
  step('remove commit')
  await rm(commit, { force: true })
}

export const exists = (file: string): Promise<boolean> =>
  lstat(file).then(
    () => true,
    () => false,
  )

/** Has the system write a file, or the names in a folder, to the disk. Windows knows no such thing for folders. */
export async function flush(where: string): Promise<void> {
  const handle = await open(where, 'r').catch((error: NodeJS.ErrnoException) => {
    if (process.platform === 'win32') return undefined
    throw error
  })
  try {
    await handle?.sync().catch((error: NodeJS.ErrnoException) => {
      if (process.platform !== 'win32') throw error
    })
  } finally {
    await handle?.close()
  }
}
