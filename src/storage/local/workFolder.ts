/**
 * The owner of a work folder, and how files in it are written. An attacker can plant a work folder: as a link, or as a folder
 * in a git clone. So terge does not follow, replace or remove anything in it before it is certain that terge made the folder here:
 * it is a real folder of this user, terge knows every name in it, no entry is a link, and its `owner` record has the folder's
 * own inode and birth time, which no copy has.
 */
import { type BigIntStats, constants } from 'node:fs'
import { type FileHandle, lstat, mkdir, open, readdir, rm } from 'node:fs/promises'
import path from 'node:path'
import { type Fault, fault } from '../../core/diagnostics.js'
import { quote } from '../../core/suggest.js'
import { flushHandle, NOFOLLOW } from '../../core/system/disk.js'
import { isLock, isLockFile } from './lock.js'

const OWNER = 'owner'
/** Files with the records of a run. */
const RECORD = /^((journal|commit|uploads)(\.new)?|scratch\.\d+)$/
const FOLDER = /^(new|old)$/
/** In bytes. A lock and an owner record are one line. */
const MOST_LINE = 1000

/** The status of a path, without following links; undefined if it does not exist. */
export async function statusOf(file: string): Promise<BigIntStats | undefined> {
  try {
    return await lstat(file, { bigint: true })
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined
    throw error
  }
}

/** Makes the folder. False if the path exists. */
export async function makeWorkFolder(folder: string): Promise<boolean> {
  try {
    await mkdir(folder)
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false
    throw error
  }
}

const foreign = (folder: string, what: string): Fault =>
  fault(
    'foreign-work-folder',
    `${folder}: ${what}, so terge neither uses nor removes this work folder`,
    'check what it is, remove or rename it, then run again',
  )

/**
 * Refuses a work folder that terge did not make here, or that has files from something else. A folder without an owner record
 * may have locks, because a run can be killed right at its start. Error: `foreign-work-folder`.
 */
export async function checkWorkFolder(folder: string): Promise<void> {
  const entry = await statusOf(folder)
  if (!entry) return
  if (!entry.isDirectory()) throw foreign(folder, `it is ${kindOf(entry)}`)
  const user = process.geteuid?.()
  if (user !== undefined && entry.uid !== BigInt(user)) throw foreign(folder, `it belongs to user ${entry.uid}`)
  let proof: string | undefined
  for (const name of await readdir(folder)) {
    const known = isLockFile(name) || name === OWNER || RECORD.test(name) || FOLDER.test(name)
    if (!known) throw foreign(folder, `it holds ${quote(name)}, which terge does not write`)
    const inside = await statusOf(path.join(folder, name))
    // A lock that was just released.
    if (!inside) continue
    checkEntry(folder, name, entry, inside)
    if (!isLockFile(name) && name !== OWNER) proof ??= name
  }
  if (proof !== undefined && !(await isOwned(folder)))
    throw foreign(folder, `it holds ${quote(proof)} and no record that terge made it in this place`)
  await checkTree(folder, 'new', entry)
}

/** Checks an entry: folders, and files without other hard links. A lock has two links while it is created. */
function checkEntry(folder: string, name: string, own: BigIntStats, entry: BigIntStats): void {
  const wanted = FOLDER.test(name) ? entry.isDirectory() : entry.isFile()
  if (!wanted) throw foreign(folder, `${quote(name)} in it is ${kindOf(entry)}`)
  if (entry.uid !== own.uid) throw foreign(folder, `${quote(name)} in it belongs to user ${entry.uid}`)
  if (entry.isFile() && entry.nlink > (isLockFile(name) ? 2n : 1n))
    throw foreign(folder, `${quote(name)} in it is also a file elsewhere (a hard link)`)
  if ((isLockFile(name) || name === OWNER) && entry.size > MOST_LINE)
    throw foreign(folder, `${quote(name)} in it is not a file that terge writes`)
}

async function checkTree(folder: string, inside: string, own: BigIntStats): Promise<void> {
  const names = await readdir(path.join(folder, inside)).catch((): string[] => [])
  for (const name of names.map((name) => `${inside}/${name}`)) {
    const entry = await statusOf(path.join(folder, name))
    if (!entry) continue
    if (entry.isDirectory() && entry.uid === own.uid) await checkTree(folder, name, own)
    else checkEntry(folder, name, own, entry)
  }
}

const kindOf = (entry: BigIntStats): string =>
  entry.isSymbolicLink()
    ? 'a symbolic link'
    : entry.isDirectory()
      ? 'a folder'
      : entry.isFile()
        ? 'a file'
        : 'a special file'

/** Identity of an unchanged file. It stays the same when the file is moved on its disk. */
export const identityOf = (entry: BigIntStats): string => `${entry.ino} ${entry.size} ${entry.mtimeNs}`

/** Identity of a folder, independent of its contents. */
const folderIdentity = (entry: BigIntStats): string => `${entry.ino} ${entry.birthtimeNs}`

/** Records that terge made the folder here. It must be empty except for locks. */
export async function writeOwner(folder: string, sync: boolean, name = OWNER): Promise<void> {
  const entry = await lstat(folder, { bigint: true })
  await writeNew(path.join(folder, name), `${JSON.stringify({ terge: 1, folder: folderIdentity(entry) })}\n`, sync)
}

export const removeOwner = (folder: string): Promise<void> => rm(path.join(folder, OWNER), { force: true })

/** Whether `tidy` keeps a file: the owner record and locks, but not locks that were being created. */
export const isOwnerOrLock = (name: string): boolean => name === OWNER || isLock(name)

export async function isOwned(folder: string, name = OWNER): Promise<boolean> {
  const entry = await statusOf(folder)
  const text = await readOwn(path.join(folder, name), MOST_LINE)
  if (!entry || text === undefined) return false
  try {
    const { terge, folder: noted } = JSON.parse(text) as { terge: unknown; folder: unknown }
    if (terge !== 1 || typeof noted !== 'string') return false
    // If a file system has no birth times, Node returns 0 or the time of the last change.
    const { ino, birthtimeNs, ctimeNs } = entry
    const bornUnknown = birthtimeNs === 0n || birthtimeNs === ctimeNs
    return noted === folderIdentity(entry) || (bornUnknown && noted.split(' ')[0] === String(ino))
  } catch {
    return false
  }
}

/** The text of a file in the work folder, without following links; undefined if it does not exist or has more than `most` bytes. */
export async function readOwn(file: string, most: number): Promise<string | undefined> {
  const handle = await openOwn(file, constants.O_RDONLY)
  try {
    const entry = await handle?.stat()
    return entry?.isFile() && entry.size <= most ? await handle!.readFile('utf8') : undefined
  } finally {
    await handle?.close()
  }
}

/** Opens a regular file without other hard links; undefined if there is none. */
export async function openOwn(file: string, flags: number): Promise<FileHandle | undefined> {
  let handle: FileHandle
  try {
    // O_NONBLOCK: do not wait if it is a pipe.
    handle = await open(file, flags | NOFOLLOW | (constants.O_NONBLOCK ?? 0))
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT' || code === 'ELOOP' || code === 'ENXIO') return undefined
    throw error
  }
  const entry = await handle.stat()
  if (entry.isFile() && entry.nlink === 1) return handle
  await handle.close()
  return undefined
}

/** Opens a new file. An existing file is unlinked, never written to. */
export async function openNew(file: string): Promise<FileHandle> {
  await rm(file, { force: true })
  return open(file, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | NOFOLLOW)
}

/** Content of a file: text, bytes, or text in pieces. */
export type FileContent = string | Uint8Array | Iterable<string>

export async function writeNew(file: string, content: FileContent, sync = false): Promise<void> {
  const handle = await openNew(file)
  try {
    if (typeof content === 'string' || content instanceof Uint8Array) await handle.writeFile(content)
    // Each call appends.
    else for (const piece of content) await handle.writeFile(piece)
    if (sync) await flushHandle(handle)
  } finally {
    await handle.close()
  }
}
