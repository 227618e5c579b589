/** The paths of an output's unfinished work. Recovery undoes or finishes an interrupted publication. */
import { readdir, rm } from 'node:fs/promises'
import path from 'node:path'
import { fault } from '../../core/diagnostics.js'
import { flush, move, removeTree } from '../../core/system/disk.js'
import { identityOf, isOwnerOrLock, readOwn, statusOf, writeNew } from './workFolder.js'

/** Called before each change of the file system, with the name of the change. */
export type Step = (name: string) => void

/** All paths absolute. */
export interface Place {
  readonly output: string
  readonly kind: 'file' | 'folder'
  /** The hidden work folder. */
  readonly folder: string
  /** The folder of the staged files. */
  readonly files: string
  readonly old: string
  readonly commit: string
  /** The executor's record of finished work. */
  readonly journal: string
  /** The record of what was uploaded, if the output is not on this machine. */
  readonly uploads: string
  /** Paths of the lineage of a single file: published, staged, and the old one that is replaced. */
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
    uploads: path.join(folder, 'uploads'),
    lineage: {
      published: path.join(path.dirname(output), lineage),
      staged: path.join(files, lineage),
      old: path.join(old, lineage),
    },
  }
}

/** Name of the lineage beside a single file: `NAME.lineage.json` for `NAME.safetensors`. */
export const lineageName = (fileName: string): string => `${path.parse(fileName).name}.lineage.json`

/** The files that are published, by their identity on this disk. Recovery moves nothing else. */
interface Commit {
  readonly commit: 1
  /** The model file, or the folder of the output. */
  readonly made: string
  /** The lineage of a single file. */
  readonly lineage?: string
  /** What the output replaces: a folder, or the lineage of a single file. */
  readonly replaced?: string
}

/** In bytes. A commit record has about 200. */
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

/** Records what is about to be published, so that `recover` can identify each file. */
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
  await move(`${commit}.new`, commit)
}

/**
 * Moves the output to its place, in an order in which a lineage is never beside the wrong model. First moves the old output
 * away (for a single file, its lineage), then moves the new output with one rename. The lineage of a new file is moved before
 * the file; if the file replaces another, its lineage is moved afterwards.
 */
export async function moveIn(place: Place, step: Step, sync: boolean): Promise<void> {
  const { output, kind, files, old, lineage } = place
  const over = await exists(output)
  const addLineage = async () => {
    step('lineage')
    if (await exists(lineage.staged)) await move(lineage.staged, lineage.published)
  }
  step('old')
  if (kind === 'folder') {
    if (over) await move(output, path.join(old, 'output'))
    step('new')
    await move(files, output)
  } else {
    if (await exists(lineage.published)) await move(lineage.published, lineage.old)
    if (!over) await addLineage()
    step('model')
    await move(path.join(files, path.basename(output)), output)
    if (over) await addLineage()
  }
  if (sync) await flush(path.dirname(output))
}

/**
 * Completes or undoes an interrupted publication. If the output was not renamed yet, everything is undone: the new files are
 * staged again and the old ones are back. Otherwise the rest is completed and the result is true: only `tidy` remains. Can itself
 * be interrupted at any point and called again. Errors: `foreign-work-folder`, `output-exists`.
 */
export async function recover(place: Place, step: Step): Promise<boolean> {
  const { output, kind, folder, files, old, commit, lineage } = place
  if (!(await exists(commit))) return false
  const record = await readCommit(commit)
  if (!record)
    throw fault(
      'foreign-work-folder',
      `${commit}: not a commit record that terge writes`,
      `check what ${folder} contains, remove or rename it, then run again`,
    )
  const published = !(await exists(kind === 'folder' ? files : path.join(files, path.basename(output))))
  if (published) {
    // If the user moved or replaced the model meanwhile, the staged lineage does not belong to it.
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
      await move(lineage.published, lineage.staged)
    }
    await moveNoted(folder, lineage.old, lineage.published, record.replaced, () => step('undo old'))
  }
  step('undo commit')
  await rm(commit)
  return false
}

/** Moves a file of the commit record to a path that must be free. Does nothing if it was moved before. */
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
      `${from}: differs from what an interrupted run recorded`,
      `check what ${folder} contains, remove or rename it, then run again`,
    )
  if (await exists(to))
    throw fault(
      'output-exists',
      `${to}: was written after an interrupted run, which has ${from} for this path`,
      'keep one of the two and remove or rename the other, then run again',
    )
  before()
  await move(from, to)
  await flush(path.dirname(to))
}

/** Empties the work folder, except for lock and owner. Removes the commit last, because recovery of the rest depends on it. */
export async function tidy({ folder, commit }: Pick<Place, 'folder' | 'commit'>, step: Step): Promise<void> {
  const names = await readdir(folder)
  for (const name of names.filter((name) => name !== path.basename(commit) && !isOwnerOrLock(name)).sort()) {
    step(`remove ${name}`)
    await removeTree(path.join(folder, name))
  }
  step('remove commit')
  await rm(commit, { force: true })
}

/** Whether anything has this path. Throws if the system can't say, because a wrong guess could remove the wrong file. */
export const exists = async (file: string): Promise<boolean> => (await statusOf(file)) !== undefined
