/**
 * The hidden folder beside an output, `.terge-NAME`, in which all unfinished work lives:
 *
 *     owner    that terge made the folder, in this place
 *     lock.N   the process that works here
 *     new/     the output's files
 *     old/     what `--force` replaces, until it has
 *     commit   written when new/ is complete; publishing has begun
 *
 * and whatever the executor notes there for a resume. An output comes into being by one rename, of the folder `new` or
 * of the model file in it. Until that rename has happened everything can be undone, afterwards the rest is done.
 * A single file's lineage goes before it and comes after it, so that none ever stands beside another model.
 */
import { constants } from 'node:fs'
import { mkdir, readdir, rm, rmdir, statfs } from 'node:fs/promises'
import path from 'node:path'
import { eachOf } from '../../core/collections/eachOf.js'
import { type ExitCode, Fault, fault } from '../../core/diagnostics.js'
import { formatSize } from '../../core/sizes.js'
import { releaseLock, takeLock } from './lock.js'
import { makeFolder } from './makeFolder.js'
import { exists, flush, moveIn, type Place, placeOf, recover, type Step, tidy, writeCommit } from './recover.js'
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

/** An output's file before its data. */
export interface StagedFile {
  /** Relative to the output's folder, `/` between parts. */
  readonly name: string
  readonly size: number
  /** What it begins with. */
  readonly header: Uint8Array
}

export interface StagingOptions {
  readonly kind: 'file' | 'folder'
  /** An output that exists may be replaced. */
  readonly force: boolean
  /** Unfinished work is kept and gone on with. */
  readonly resume: boolean
  /** Why a folder that stands in the output's place can't be replaced, to follow its name; undefined where it may be. */
  readonly irreplaceable: (folder: string) => Promise<string | undefined>
  /** Default true: the folder's owner record is on the disk before anything else is. */
  readonly sync?: boolean
  /** For tests: called before each change of the file system. */
  readonly step?: Step
}

export interface Staging extends Place {
  /** What exists may be replaced. */
  readonly replace: boolean
  readonly irreplaceable: StagingOptions['irreplaceable']
  /** There is an output under the name now; only with `force`. */
  readonly existing: boolean
  readonly step: Step
  /** Unfinished work of an earlier run was kept. */
  readonly resumed: boolean
  /** The uppermost folder that was made for the output to stand in. */
  readonly madeParent?: string
}

/** A place whose lock is held. */
type Claimed = Place & Pick<Staging, 'step' | 'madeParent'>

/**
 * Locks the place of an output, at an absolute path, and brings to an end what a killed run left there.
 * Errors: `output-exists`, `output-in-use`, `foreign-work-folder`, `cannot-write`.
 */
export async function openStaging(output: string, options: StagingOptions): Promise<Staging> {
  const { kind, force, resume, irreplaceable, sync = true, step = () => {} } = options
  const place = placeOf(output, kind)
  const claimed = await attempt(output, 2, () => claim({ ...place, step }, sync))
  const staging = { ...claimed, replace: force, irreplaceable }
  try {
    return await attempt(output, 2, async () => {
      if (await recover(place, step)) await tidy(place, step)
      const existing = await refuseExisting(staging, 2)
      // Only now: a run that is refused leaves unfinished work to whoever resumes it.
      if (!resume) await tidy(place, step)
      const resumed = await exists(place.files)
      await mkdir(place.files, { recursive: true })
      return { ...staging, existing, resumed }
    })
  } catch (error) {
    // A user's fault leaves nothing behind; after anything else the next command will look again.
    if (error instanceof Fault) await release(staging).catch(() => {})
    throw error
  }
}

/**
 * Brings to an end what a killed run left in publishing this output: afterwards it is whole, as it was or as it was to
 * be. Unfinished work stays unless it is to be dropped. Errors: `output-in-use`, `foreign-work-folder`, `cannot-write`.
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

/** No folder is removed so often by others. */
const MOST_ATTEMPTS = 1000

/** Makes the hidden folder where there is none, takes its lock, and makes sure that it is terge's. A failure leaves nothing. */
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
    // What another process holds, or made, is not ours to take apart.
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
      // Whoever held it removed the folder in this moment.
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT' || attempts === MOST_ATTEMPTS) throw error
    }
  }
}

/** Refuses to replace what is there, unless forced, and what is no model at all. True if there is something. */
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
      `${lineage.published}: is a folder, and the output's lineage has this name`,
      'choose another path',
      exit,
    )
  if (!entry && !beside) return false
  if (!replace)
    throw fault(
      'output-exists',
      entry
        ? `${output}: exists already`
        : `${lineage.published}: exists already, and the output's lineage has this name`,
      '--force replaces it',
      exit,
    )
  if (!entry) return false
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
 * Errors: `disk-full` before anything is written, `cannot-write`.
 */
export async function preallocate(staging: Staging, files: readonly StagedFile[]): Promise<void> {
  await attempt(staging.output, 2, async () => {
    await dropOthers(staging.files, '', new Set(files.map(({ name }) => name)))
    let wanted = 0
    for (const { name, size } of files) {
      const entry = await statusOf(path.join(staging.files, checkName(name)))
      wanted += Math.max(0, size - (entry ? Number(entry.blocks) * 512 : 0))
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

/** Removes all that an earlier run staged but these files: an input may lack today what it had then. */
async function dropOthers(folder: string, inside: string, names: ReadonlySet<string>): Promise<void> {
  for (const entry of await readdir(path.join(folder, inside), { withFileTypes: true })) {
    const name = path.posix.join(inside, entry.name)
    const leads = entry.isDirectory() && [...names].some((wanted) => wanted.startsWith(`${name}/`))
    if (leads) await dropOthers(folder, name, names)
    else if (entry.isDirectory() || !names.has(name))
      await rm(path.join(folder, name), { recursive: true, force: true })
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

/** Puts a whole file beside the weights: index, configuration, tokenizer, lineage. Error: `cannot-write`. */
export const stageFile = (staging: Staging, name: string, content: FileContent): Promise<void> =>
  attempt(staging.output, 1, async () => {
    const file = path.join(staging.files, checkName(name))
    await mkdir(path.dirname(file), { recursive: true })
    await writeNew(file, content)
  })

/** Removes all that was staged for the output's name: what was only made to be looked at. Error: `cannot-write`. */
export const dropWeights = (staging: Staging): Promise<void> =>
  attempt(staging.output, 1, async () => {
    await rm(staging.files, { recursive: true, force: true })
    await mkdir(staging.files)
  })

/** Files that are flushed at once: each is open meanwhile. */
const FLUSHES = 4

/**
 * Gives the finished output its name, at once, and removes the hidden folder. A `folder` output is all that was staged;
 * a `file` output is the model file and, where it was staged, `NAME.lineage.json`. With `sync` the data is on the disk
 * before the name is. Errors: `output-exists`, if one appeared meanwhile; `cannot-write`.
 */
export async function publish(staging: Staging, { sync }: { readonly sync: boolean }): Promise<void> {
  const { output, folder, files, old, step } = staging
  await attempt(output, 1, async () => {
    await refuseExisting(staging, 1)
    if (sync) {
      const all = await readdir(files, { recursive: true })
      await eachOf(all, FLUSHES, (name) => flush(path.join(files, name)))
      await flush(files)
    }
    step('keep')
    await rm(old, { recursive: true, force: true })
    await mkdir(old)
    step('commit')
    await writeCommit(staging, sync)
    if (sync) await flush(folder)
    await moveIn(staging, step, sync)
    await tidy(staging, step)
    await release(staging)
  })
}

/** Removes all unfinished work, and the folders that were made for it. What was being published is first undone, or finished. */
export async function discard(staging: Staging): Promise<void> {
  await recover(staging, staging.step)
  await tidy(staging, staging.step)
  await release(staging)
}

/** Leaves unfinished work for a resume, but for no process. */
export async function leave(staging: Staging): Promise<void> {
  try {
    const begun = (await exists(staging.journal)) && !(await recover(staging, staging.step))
    if (!begun) await tidy(staging, staging.step)
  } finally {
    await release(staging)
  }
}

/** Gives the lock back. A folder that holds nothing else goes, and so do those that were made for it. */
async function release({ folder, output, madeParent, step }: Claimed): Promise<void> {
  const empty = (await readdir(folder)).every(isOwnerOrLock)
  if (empty) {
    step('disown')
    await removeOwner(folder)
  }
  step('unlock')
  await releaseLock(folder)
  // What another process put there since stays.
  if (empty && (await removed(folder))) await removeEmpty(path.dirname(output), madeParent)
}

/** From a folder upwards those that were made, as long as they are empty. */
async function removeEmpty(folder: string, madeParent: string | undefined): Promise<void> {
  if (madeParent === undefined) return
  for (let parent = folder; parent.startsWith(madeParent); parent = path.dirname(parent))
    if (!(await removed(parent))) return
}

const removed = (folder: string): Promise<boolean> =>
  rmdir(folder).then(
    () => true,
    () => false,
  )

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
