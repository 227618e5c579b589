/**
 * The hidden work folder beside an output, `.terge-NAME`, which holds all unfinished work:
 *
 *     owner    record that terge made the folder in this place
 *     lock.N   the process that works here
 *     new/     the output's files
 *     old/     what `--force` replaces, until publication is complete
 *     commit   written when new/ is complete and publication starts
 *
 * and the executor's records for a resume. One rename publishes an output: of the folder `new`, or of the model file in it.
 * Before it everything can be undone; after it the rest can be completed. The lineage of a single file is removed
 * before the file and moved in after it, so that it is never beside another model.
 */
import { constants } from 'node:fs'
import { mkdir, readdir, rmdir, statfs } from 'node:fs/promises'
import path from 'node:path'
import { eachOf } from '../../core/collections/eachOf.js'
import { type ExitCode, Fault, fault } from '../../core/diagnostics.js'
import { formatSize } from '../../core/sizes.js'
import { attempt } from '../../core/system/attempt.js'
import { flush, removeTree } from '../../core/system/disk.js'
import { releaseLock, takeLock } from './lock.js'
import { makeFolder } from './makeFolder.js'
import { exists, moveIn, type Place, placeOf, recover, type Step, tidy, writeCommit } from './recover.js'
import { bringBack, moveTree } from './shared/arrive.js'
import {
  checkWorkFolder,
  type FileContent,
  isOwned,
  isOwnerOrLock,
  makeWorkFolder,
  openNew,
  openOwn,
  removeOwner,
  statusOf,
  writeNew,
  writeOwner,
} from './workFolder.js'

/** A file of an output before its data are written. */
export interface StagedFile {
  /** Relative to the output's folder, with `/`. */
  readonly name: string
  readonly size: number
  /** The first bytes of the file. */
  readonly header: Uint8Array
}

export interface StagingOptions {
  readonly kind: 'file' | 'folder'
  /** Whether an existing output may be replaced. */
  readonly force: boolean
  /** Whether to resume unfinished work. */
  readonly resume: boolean
  /** Why a folder at the output's path can't be replaced, as text that follows its name; undefined if it can. */
  readonly irreplaceable: (folder: string) => Promise<string | undefined>
  /** Whether to fsync the owner record before anything else is written. Default: true. */
  readonly sync?: boolean
  /** The folder where other processes have written the files, until the output is published. Default: one beside the output. */
  readonly from?: string | undefined
  /** For tests: called before each change of the file system. */
  readonly step?: Step
}

export interface Staging extends Place {
  /** Whether an existing output may be replaced. */
  readonly replace: boolean
  readonly irreplaceable: StagingOptions['irreplaceable']
  /** Whether an output exists at this path. Only with `force`. */
  readonly existing: boolean
  readonly step: Step
  /** Whether unfinished work of an earlier run was kept. */
  readonly resumed: boolean
  /** Whether it was removed instead. */
  readonly dropped?: boolean
  /** Whether other processes write the same files. */
  readonly shared?: boolean
  /** The topmost folder that was made for the output. */
  readonly madeParent?: string
}

/** A place whose lock is held. */
type Claimed = Place & Pick<Staging, 'step' | 'madeParent'>

/**
 * Locks the place of an output (an absolute path), and completes or undoes what a killed run left there.
 * Errors: `output-exists`, `output-in-use`, `foreign-work-folder`, `cannot-write`.
 */
export async function openStaging(output: string, options: StagingOptions): Promise<Staging> {
  const { kind, force, resume, irreplaceable, sync = true, from, step = () => {} } = options
  const place = placeOf(output, kind)
  const claimed = await attempt(output, 2, () => claim({ ...place, step }, sync))
  const staging = { ...claimed, replace: force, irreplaceable }
  try {
    return await attempt(output, 2, async () => {
      if (await recover(place, step)) await tidy(place, step)
      const existing = await refuseExisting(staging, 2)
      // Not earlier: a run that is refused must not remove unfinished work that can be resumed.
      const dropped = !resume && (await exists(place.journal))
      if (!resume) await tidy(place, step)
      const files = from ?? place.files
      if (from !== undefined) await bringBack(place.files, from)
      const resumed = await exists(files)
      await mkdir(files, { recursive: true })
      return { ...staging, files, existing, resumed, dropped }
    })
  } catch (error) {
    // After an error for the user, clean up. After an unexpected error, the next run checks the folder.
    if (error instanceof Fault) await release(staging).catch(() => {})
    throw error
  }
}

/**
 * Completes or undoes the interrupted publication of this output: afterwards the output is whole, old or new. Keeps unfinished
 * work, unless `drop` is true. Errors: `output-in-use`, `foreign-work-folder`, `cannot-write`.
 */
export async function settleStaging(
  output: string,
  { kind, drop }: { readonly kind: Place['kind']; readonly drop: boolean },
): Promise<void> {
  const step = () => {}
  const place = placeOf(output, kind)
  await attempt(output, 2, async () => {
    if (!(await exists(place.folder))) return
    const claimed = await claim({ ...place, step }, false)
    try {
      if ((await recover(place, step)) || drop) await tidy(place, step)
    } finally {
      await release(claimed)
    }
  })
}

/** Maximum attempts to lock a folder that other processes remove. */
const MOST_ATTEMPTS = 1000

/** Makes the work folder if needed, takes its lock, and checks that terge made it. Cleans up after a failure. */
async function claim(place: Place & Pick<Staging, 'step'>, sync: boolean): Promise<Claimed> {
  const { folder, output } = place
  const madeParent = await makeFolder(path.dirname(output))
  const claimed = { ...place, ...(madeParent === undefined ? {} : { madeParent }) }
  try {
    await lock(folder, output)
    if (!(await isOwned(folder))) await writeOwner(folder, sync)
    return claimed
  } catch (error) {
    const held = (error as Partial<Fault>).diagnostics?.[0]?.code
    // Another process uses or made the folder, so do not remove it.
    if (held === 'output-in-use' || held === 'foreign-work-folder') await removeEmpty(path.dirname(output), madeParent)
    else await release(claimed).catch(() => {})
    throw error
  }
}

async function lock(folder: string, output: string): Promise<void> {
  for (let attempts = 1; ; attempts++) {
    if (!(await makeWorkFolder(folder))) await checkWorkFolder(folder)
    try {
      const holder = await takeLock(folder)
      if (holder === undefined) return
      throw fault(
        'output-in-use',
        `${output}: another run, process ${holder}, is writing it`,
        'wait for it, or choose another output',
      )
    } catch (error) {
      // The process that held the lock has just removed the folder.
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT' || attempts === MOST_ATTEMPTS) throw error
    }
  }
}

/** Refuses to replace an output without `force`, or anything that is not a model. Returns whether an output exists. */
async function refuseExisting(
  {
    output,
    kind,
    replace,
    irreplaceable,
    lineage,
  }: Pick<Staging, 'output' | 'kind' | 'replace' | 'irreplaceable' | 'lineage'>,
  exit: ExitCode,
): Promise<boolean> {
  const entry = await statusOf(output)
  const beside = kind === 'file' ? await statusOf(lineage.published) : undefined
  if (beside?.isDirectory())
    throw fault(
      'output-exists',
      `${lineage.published}: is a folder, but the output's lineage needs this name`,
      'choose another path',
      exit,
    )
  if (!entry && !beside) return false
  if (!replace)
    throw fault(
      'output-exists',
      entry
        ? `${output}: exists already`
        : `${lineage.published}: exists already, but the output's lineage needs this name`,
      'use --force to replace it',
      exit,
    )
  if (!entry) return false
  if (entry.isDirectory() !== (kind === 'folder'))
    throw fault(
      'output-exists',
      `${output}: is a ${entry.isDirectory() ? 'folder' : 'file'}, but the output is a ${kind}`,
      'choose another path',
      exit,
    )
  if (kind === 'file') return true
  const reason = await irreplaceable(output)
  if (reason)
    throw fault('output-exists', `${output}: ${reason}, so terge does not replace it`, 'choose another path', exit)
  return true
}

/**
 * Makes the output's files at full size, with their headers. Keeps files of an interrupted run if size and header match. `needsAll`:
 * whether all of them are there at the same time, filled. Errors: `disk-full` before anything is written, `cannot-write`.
 */
export async function preallocate(staging: Staging, files: readonly StagedFile[], needsAll = true): Promise<void> {
  await attempt(staging.output, 2, async () => {
    await dropOthers(staging.files, '', new Set(files.map(({ name }) => name)))
    let wanted = 0
    for (const { name, size } of files) {
      const entry = await statusOf(path.join(staging.files, checkName(name)))
      wanted += Math.max(0, size - (entry ? Number(entry.blocks) * 512 : 0))
    }
    const disk = await statfs(staging.files).catch(() => undefined)
    if (needsAll && disk && disk.blocks > 0 && disk.bavail * disk.bsize < wanted)
      throw fault(
        'disk-full',
        `${staging.output}: needs ${formatSize(wanted)}, but the disk has ${formatSize(disk.bavail * disk.bsize)} left`,
        'free some space, or choose another disk',
      )
    for (const { name, size, header } of files) {
      const file = path.join(staging.files, name)
      await mkdir(path.dirname(file), { recursive: true })
      if (await isBegun(file, size, header)) continue
      const handle = await openNew(file)
      try {
        await handle.writeFile(header)
        await handle.truncate(size)
      } finally {
        await handle.close()
      }
    }
  })
}

/** Removes all staged files except these: inputs may have changed since an earlier run. */
async function dropOthers(folder: string, inside: string, names: ReadonlySet<string>): Promise<void> {
  for (const entry of await readdir(path.join(folder, inside), { withFileTypes: true })) {
    const name = path.posix.join(inside, entry.name)
    const leads = entry.isDirectory() && [...names].some((wanted) => wanted.startsWith(`${name}/`))
    if (leads) await dropOthers(folder, name, names)
    else if (entry.isDirectory() || !names.has(name)) await removeTree(path.join(folder, name))
  }
}

async function isBegun(file: string, size: number, header: Uint8Array): Promise<boolean> {
  const handle = await openOwn(file, constants.O_RDWR)
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

/** Stages a whole file beside the weights: index, configuration, tokenizer or lineage. Error: `cannot-write`. */
export const stageFile = (staging: Staging, name: string, content: FileContent): Promise<void> =>
  attempt(staging.output, 1, async () => {
    const file = path.join(staging.files, checkName(name))
    await mkdir(path.dirname(file), { recursive: true })
    await writeNew(file, content)
  })

/** Removes a file that `stageFile` wrote, so that it can be written again. Error: `cannot-write`. */
export const unstageFile = ({ output, files }: Staging, name: string): Promise<void> =>
  attempt(output, 1, () => removeTree(path.join(files, checkName(name))))

/**
 * Continues without the staged files, if the output was only made for an evaluation. Files that other processes have written stay where
 * they are. Error: `cannot-write`.
 */
export const dropWeights = (staging: Staging): Promise<Staging> =>
  attempt(staging.output, 1, async () => {
    const { files } = placeOf(staging.output, staging.kind)
    await removeTree(files)
    await mkdir(files)
    return { ...staging, files }
  })

/** Parallel fsync calls. Each keeps a file open. */
const FLUSHES = 4

/**
 * Publishes the finished output atomically and removes the work folder. A `folder` output has all staged files; a `file`
 * output has the model file and `NAME.lineage.json`, if that was staged. With `sync`, calls fsync for all files before the
 * rename. Errors: `output-exists` if an output appeared meanwhile, `cannot-write`.
 */
export async function publish(staged: Staging, { sync }: { readonly sync: boolean }): Promise<void> {
  const staging = { ...staged, files: placeOf(staged.output, staged.kind).files }
  const { output, files, step } = staging
  await attempt(output, 1, async () => {
    await refuseExisting(staging, 1)
    if (staged.files !== files) await moveTree(staged.files, files)
    try {
      await moveToPlace(staging, sync)
    } catch (error) {
      // Their own folder has files that other processes have written.
      if (staged.files !== files && !(await recover(staging, step))) await bringBack(files, staged.files)
      throw error
    }
    await tidy(staging, step)
    await release(staging)
  })
}

async function moveToPlace(staging: Staging, sync: boolean): Promise<void> {
  const { folder, files, old, step } = staging
  if (sync) {
    const all = await readdir(files, { recursive: true })
    await eachOf(all, FLUSHES, (name) => flush(path.join(files, name)))
    await flush(files)
  }
  step('keep')
  await removeTree(old)
  await mkdir(old)
  step('commit')
  await writeCommit(staging, sync)
  if (sync) await flush(folder)
  await moveIn(staging, step, sync)
}

/** Removes all unfinished work and the folders that were made for it. First undoes or completes an interrupted publication. */
export async function discard(staging: Staging): Promise<void> {
  await recover(staging, staging.step)
  await tidy(staging, staging.step)
  await release(staging)
}

/** Keeps unfinished work for a resume, and releases the lock. */
export async function leave(staging: Staging): Promise<void> {
  try {
    const begun =
      ((await exists(staging.journal)) || (await exists(staging.uploads))) && !(await recover(staging, staging.step))
    if (!begun) await tidy(staging, staging.step)
  } finally {
    await release(staging)
  }
}

/** Releases the lock. Removes the work folder if it is empty, and then the folders that were made for it. */
async function release({ folder, output, madeParent, step }: Claimed): Promise<void> {
  const empty = (await readdir(folder)).every(isOwnerOrLock)
  if (empty) {
    step('disown')
    await removeOwner(folder)
  }
  step('unlock')
  await releaseLock(folder)
  // Files that another process added meanwhile stay.
  if (empty && (await removed(folder))) await removeEmpty(path.dirname(output), madeParent)
}

/** Removes a folder and its parents up to `madeParent`, as long as they are empty. */
async function removeEmpty(folder: string, madeParent: string | undefined): Promise<void> {
  if (madeParent === undefined) return
  for (let parent = folder; parent.startsWith(madeParent); parent = path.dirname(parent))
    if (!(await removed(parent))) return
}

const removed = async (folder: string): Promise<boolean> => (await rmdir(folder).catch(() => false)) === undefined

function checkName(name: string): string {
  if (/[\\\0]/.test(name) || name.split('/').some((part) => ['', '.', '..'].includes(part)))
    throw new Error(`internal: ${JSON.stringify(name)} is not the name of a file in the output`)
  return name
}
