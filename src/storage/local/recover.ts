/** The places of an output's unfinished work, and how work that was cut off is undone or brought to an end. */
import { open, readdir, rename, rm } from 'node:fs/promises'
import path from 'node:path'
import { fault } from '../../core/diagnostics.js'
import { identityOf, isOwnerOrLock, readOwn, statusOf, writeNew } from './workFolder.js'

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
  /** What the executor notes of finished work. */
  readonly journal: string
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
    journal: path.join(folder, 'journal'),
    lineage: {
      published: path.join(path.dirname(output), lineage),
      staged: path.join(files, lineage),
      old: path.join(old, lineage),
    },
  }
}

/** The lineage beside a single file: `NAME.lineage.json`, where the file is `NAME` with one extension. */
export const lineageName = (fileName: string): string => `${path.parse(fileName).name}.lineage.json`

/** What is published, by identity on this disk: recovery moves nothing else. */
interface Commit {
  readonly commit: 1
  /** The model file, or the folder of the output. */
  readonly made: string
  /** Of a single file, its lineage. */
  readonly lineage?: string
  /** What the output replaces: a folder, or a single file's lineage. */
  readonly replaced?: string
}

/** Bytes; a commit record has about 200. */
const MOST_COMMIT = 10_000

const isText = (value: unknown): boolean => typeof value === 'string'

async function readCommit(file: string): Promise<Commit | undefined> {
  try {
    const found = JSON.parse((await readOwn(file, MOST_COMMIT)) ?? '') as Commit
    const { commit, made, lineage = '', replaced = '' } = found
    return commit === 1 && [made, lineage, replaced].every(isText) ? found : undefined
  } catch {
    return undefined
  }
}

const identity = async (file: string): Promise<string | undefined> => {
  const entry = await statusOf(file)
  return entry && (entry.isDirectory() ? String(entry.ino) : identityOf(entry))
}

/** Notes what is about to be published. From then on `recover` knows what each name stands for. */
export async function writeCommit(place: Place, sync: boolean): Promise<void> {
  const { output, kind, files, commit, lineage } = place
  const made = await identity(kind === 'folder' ? files : path.join(files, path.basename(output)))
  if (made === undefined) throw new Error(`internal: nothing is staged for ${output}`)
  const staged = kind === 'file' ? await identity(lineage.staged) : undefined
  const replaced = await identity(kind === 'folder' ? output : lineage.published)
  const record: Commit = {
    commit: 1,
    made,
    ...(staged === undefined ? {} : { lineage: staged }),
    ...(replaced === undefined ? {} : { replaced }),
  }
  await writeNew(`${commit}.new`, `${JSON.stringify(record)}\n`, sync)
  await rename(`${commit}.new`, commit)
}

/**
 * Gives the names in a fixed order, so that no lineage ever stands beside a model that it isn't of. What is replaced goes,
 * of a single file its lineage; then the output comes by one rename. The lineage of a new file is there before it, that of a file which
 * replaces another comes after it.
 */
export async function moveIn(place: Place, step: Step, sync: boolean): Promise<void> {
  const { output, kind, files, old, lineage } = place
  const over = await exists(output)
  const addLineage = async () => {
    step('lineage')
    if (await exists(lineage.staged)) await rename(lineage.staged, lineage.published)
  }
  step('old')
  if (kind === 'folder') {
    if (over) await rename(output, path.join(old, 'output'))
    step('new')
    await rename(files, output)
  } else {
    if (await exists(lineage.published)) await rename(lineage.published, lineage.old)
    if (!over) await addLineage()
    step('model')
    await rename(path.join(files, path.basename(output)), output)
    if (over) await addLineage()
  }
  if (sync) await flush(path.dirname(output))
}

/**
 * Ends publishing that had begun. Before the one decisive rename all is undone: everything is staged again, and what was
 * there before is back. After it the rest is done, and the result is true: the output is whole and only tidying is left.
 * May itself be cut off anywhere and called again. Errors: `foreign-work-folder`, `output-exists`.
 */
export async function recover(place: Place, step: Step): Promise<boolean> {
  const { output, kind, folder, files, old, commit, lineage } = place
  if (!(await exists(commit))) return false
  const record = await readCommit(commit)
  if (!record)
    throw fault(
      'foreign-work-folder',
      `${commit}: not a commit record that terge writes`,
      `look at what ${folder} holds, remove or rename it, and run again`,
    )
  const published = !(await exists(kind === 'folder' ? files : path.join(files, path.basename(output))))
  if (published) {
    // Whoever moved or replaced the model since has parted it from its lineage.
    const whole = (await exists(lineage.staged)) && (await identity(output)) === record.made
    if (whole) await moveNoted(folder, lineage.staged, lineage.published, record.lineage, () => step('finish lineage'))
    return true
  }
  if (kind === 'folder')
    await moveNoted(folder, path.join(old, 'output'), output, record.replaced, () => step('undo old'))
  else {
    const own = record.lineage !== undefined && (await identity(lineage.published)) === record.lineage
    if (own) {
      step('undo lineage')
      await rename(lineage.published, lineage.staged)
    }
    await moveNoted(folder, lineage.old, lineage.published, record.replaced, () => step('undo old'))
  }
  step('undo commit')
  await rm(commit)
  return false
}

/** Moves what a commit record names to a place that must be free; nothing where it has been moved already. */
async function moveNoted(
  folder: string,
  from: string,
  to: string,
  noted: string | undefined,
  before: () => void,
): Promise<void> {
  if (!(await exists(from))) return
  if ((await identity(from)) !== noted)
    throw fault(
      'foreign-work-folder',
      `${from}: not what a killed run noted`,
      `look at what ${folder} holds, remove or rename it, and run again`,
    )
  if (await exists(to))
    throw fault(
      'output-exists',
      `${to}: was written after a run was killed that has ${from} for this name`,
      'keep one of the two and remove or rename the other, then run again',
    )
  before()
  await rename(from, to)
  await flush(path.dirname(to))
}

/** Empties the hidden folder but for lock and owner. The commit goes last, since what the rest means depends on it. */
export async function tidy({ folder, commit }: Pick<Place, 'folder' | 'commit'>, step: Step): Promise<void> {
  const names = await readdir(folder)
  for (const name of names.filter((name) => name !== path.basename(commit) && !isOwnerOrLock(name)).sort()) {
    step(`remove ${name}`)
    await rm(path.join(folder, name), { recursive: true, force: true })
  }
  step('remove commit')
  await rm(commit, { force: true })
}

/** Whether the name is taken, by whatever. What the system can't say is an error: a guess could remove the wrong thing. */
export const exists = async (file: string): Promise<boolean> => (await statusOf(file)) !== undefined

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
