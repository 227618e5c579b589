/**
 * The hidden folder beside an output, `.terge-NAME`, in which all unfinished work lives:
 *
 *     lock.N   the process that works here
 *     new/     the output's files
 *     old/     what `--force` replaces, until it has
 *     commit   written when new/ is complete; publishing has begun
 *
 * and whatever the executor notes there for a resume. An output comes into being by one rename, of the folder `new` or
 * of the model file in it. Until that rename has happened everything can be undone, afterwards only tidying is left; so
 * `openStaging` needs no more than to look whether it has. A single file's lineage goes before it.
 */
import { lstat, mkdir, open, readdir, rename, rm, rmdir, statfs, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { type ExitCode, Fault, fault } from '../core/diagnostics.js'
import { formatSize } from '../core/sizes.js'
import { releaseLock, takeLock } from './lock.js'
import { makeFolder } from './makeFolder.js'
import { exists, flush, moveBack, type Place, placeOf, type Step, tidy } from './recover.js'
import { openRegular, readFully } from './regular.js'
import { irreplaceable } from './replaceable.js'
import type { OutputLayout } from './types.js'

export interface StagingOptions {
  readonly kind: 'file' | 'folder'
  /** An output that exists may be replaced. */
  readonly force: boolean
  /** Unfinished work is kept and gone on with, and may replace what the killed run was to replace. */
  readonly resume: boolean
  /** For tests: called before each change of the file system. */
  readonly step?: Step
}

export interface Staging extends Place {
  /** What exists may be replaced. */
  readonly replace: boolean
  /** There is an output under the name now; only with `force` or `resume`. */
  readonly existing: boolean
  readonly step: Step
  /** Unfinished work of an earlier run was kept. */
  readonly resumed: boolean
  /** The uppermost folder that was made for the output to stand in. */
  readonly madeParent?: string
}

/**
 * Locks the place of an output, at an absolute path, and brings to an end what a killed run left there.
 * Faults: `output-exists`, `output-in-use`, `cannot-write`.
 */
export async function openStaging(output: string, options: StagingOptions): Promise<Staging> {
  const { kind, force, resume, step = () => {} } = options
  const place = placeOf(output, kind)
  const parent = path.dirname(output)
  const madeParent = await attempt(output, 2, () => makeFolder(parent))
  await attempt(output, 2, () => lock(place.folder, output))
  const staging = { ...place, replace: force || resume, step, ...(madeParent === undefined ? {} : { madeParent }) }
  try {
    return await attempt(output, 2, async () => {
      const finished = await moveBack(place, step)
      if (finished || !resume) await tidy(place, step)
      const existing = await refuseExisting(staging, 2)
      const resumed = await exists(place.files)
      await mkdir(place.files, { recursive: true })
      return { ...staging, existing, resumed }
    })
  } catch (error) {
    // A user's fault leaves nothing behind; after anything else the next command will look again.
    if (error instanceof Fault) await release(staging)
    throw error
  }
}

/** No folder is removed so often by others. */
const MOST_ATTEMPTS = 1000

async function lock(folder: string, output: string): Promise<void> {
  for (let attempts = 1; ; attempts++) {
    await makeFolder(folder)
    try {
      const holder = await takeLock(folder)
      if (holder === undefined) return
      throw fault(
        'output-in-use',
        `${output}: another run, process ${holder}, is writing it`,
        'wait for it, or choose another output',
      )
    } catch (error) {
      // Whoever held it removed the folder in this moment.
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT' || attempts === MOST_ATTEMPTS) throw error
    }
  }
}

/** Refuses to replace what is there, unless forced, and what is no model at all. True if there is something. */
async function refuseExisting(
  { output, kind, replace }: Pick<Staging, 'output' | 'kind' | 'replace'>,
  exit: ExitCode,
): Promise<boolean> {
  const entry = await lstat(output).catch(() => undefined)
  if (!entry) return false
  if (!replace) throw fault('output-exists', `${output}: exists already`, '--force replaces it', exit)
  if (entry.isDirectory() !== (kind === 'folder'))
    throw fault(
      'output-exists',
      `${output}: is a ${entry.isDirectory() ? 'folder' : 'file'}, the output a ${kind}`,
      'choose another path',
      exit,
    )
  if (kind === 'file') return true
  const reason = await irreplaceable(output)
  if (reason) throw fault('output-exists', `${output}: ${reason}, so it is not replaced`, 'choose another path', exit)
  return true
}

/**
 * Makes the output's files at full size, headers written; those of a resumed run stay if size and header are the same.
 * Faults: `disk-full` before anything is written, `cannot-write`.
 */
export async function preallocate(staging: Staging, files: OutputLayout['files']): Promise<void> {
  await attempt(staging.output, 2, async () => {
    let wanted = 0
    for (const { name, size } of files) {
      const entry = await lstat(path.join(staging.files, checkName(name))).catch(() => undefined)
      wanted += Math.max(0, size - (entry ? entry.blocks * 512 : 0))
    }
    const disk = await statfs(staging.files).catch(() => undefined)
    if (disk && disk.blocks > 0 && disk.bavail * disk.bsize < wanted)
      throw fault(
        'disk-full',
        `${staging.output}: needs ${formatSize(wanted)}, the disk has ${formatSize(disk.bavail * disk.bsize)} left`,
        'free some space, or choose another disk',
      )
    for (const { name, size, header } of files) {
      const file = path.join(staging.files, name)
      await mkdir(path.dirname(file), { recursive: true })
      if (await isBegun(file, size, header)) continue
      const handle = await open(file, 'w')
      try {
        await handle.writeFile(header)
        await handle.truncate(size)
      } finally {
        await handle.close()
      }
    }
  })
}

async function isBegun(file: string, size: number, header: Uint8Array): Promise<boolean> {
  const handle = await open(file, 'r').catch(() => undefined)
  if (!handle) return false
  try {
    if ((await handle.stat()).size !== size) return false
    const found = Buffer.alloc(header.length)
    const { bytesRead } = await handle.read(found, 0, header.length, 0)
    return bytesRead === header.length && found.equals(header)
  } finally {
    await handle.close()
  }
}

/** Puts a whole small file beside the weights: index, configuration, tokenizer, lineage. Fault: `cannot-write`. */
export const stageFile = (staging: Staging, name: string, content: string | Uint8Array): Promise<void> =>
  attempt(staging.output, 1, async () => {
    const file = path.join(staging.files, checkName(name))
    await mkdir(path.dirname(file), { recursive: true })
    await writeFile(file, content)
  })

/** Removes all that was staged for the output's name: what was only made to be looked at. Fault: `cannot-write`. */
export const dropWeights = (staging: Staging): Promise<void> =>
  attempt(staging.output, 1, async () => {
    await rm(staging.files, { recursive: true, force: true })
    await mkdir(staging.files)
  })

/**
 * Gives the finished output its name, at once, and removes the hidden folder. A `folder` output is all that was staged;
 * a `file` output is the model file and, where it was staged, `NAME.lineage.json`. With `sync` the data is on the disk
 * before the name is. Faults: `output-exists`, if one appeared meanwhile; `cannot-write`.
 */
export async function publish(staging: Staging, { sync }: { readonly sync: boolean }): Promise<void> {
  const { output, kind, folder, files, old, commit, lineage, step } = staging
  await refuseExisting(staging, 1)
  await attempt(output, 1, async () => {
    const names = await readdir(files)
    if (sync) {
      const all = await readdir(files, { recursive: true })
      await Promise.all(all.map((name) => flush(path.join(files, name))))
      await flush(files)
    }
    step('keep')
    await rm(old, { recursive: true, force: true })
    await mkdir(old)
    if (kind === 'file' && (await exists(lineage.published))) await keepCopy(lineage.published, lineage.old)
    step('commit')
    await writeFile(`${commit}.new`, '')
    await rename(`${commit}.new`, commit)
    if (sync) await flush(folder)
    if (kind === 'folder') {
      step('old')
      if (await exists(output)) await rename(output, path.join(old, 'output'))
      step('new')
      await rename(files, output)
    } else {
      step('lineage')
      if (names.includes(path.basename(lineage.staged))) await rename(lineage.staged, lineage.published)
      step('model')
      await rename(path.join(files, path.basename(output)), output)
    }
    if (sync) await flush(path.dirname(output))
    await tidy(staging, step)
  })
  await release(staging)
}

async function keepCopy(from: string, to: string): Promise<void> {
  const { handle, size } = await openRegular(from)
  try {
    await writeFile(to, await readFully(handle, size))
  } finally {
    await handle.close()
  }
  await flush(to)
}

/** Removes all unfinished work, and the folders that were made for it. */
export async function discard(staging: Staging): Promise<void> {
  await tidy(staging, staging.step)
  await release(staging)
}

/** Leaves unfinished work for a resume, but for no process. */
export const leave = (staging: Staging): Promise<void> => releaseLock(staging.folder)

/** The lock goes last; what another process put there since stays, as do folders that are not empty. */
async function release({ folder, output, madeParent, step }: Omit<Staging, 'resumed' | 'existing'>): Promise<void> {
  step('unlock')
  await releaseLock(folder)
  const gone = (where: string) =>
    rmdir(where).then(
      () => true,
      () => false,
    )
  if (!(await gone(folder)) || madeParent === undefined) return
  for (let parent = path.dirname(output); parent.startsWith(madeParent); parent = path.dirname(parent))
    if (!(await gone(parent))) return
}

function checkName(name: string): string {
  if (/[\\\0]/.test(name) || name.split('/').some((part) => ['', '.', '..'].includes(part)))
    throw new Error(`internal: ${JSON.stringify(name)} is not the name of a file in the output`)
  return name
}

/** What the file system refuses is the user's to know. */
async function attempt<T>(output: string, exit: ExitCode, work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (!(error instanceof Error) || typeof code !== 'string' || !/^E[A-Z]+$/.test(code)) throw error
    throw fault(
      'cannot-write',
      `${output}: cannot be written: ${error.message}`,
      'check the path, its permissions and the disk',
      exit,
    )
  }
}
