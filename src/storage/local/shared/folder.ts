/**
 * The work folder of a run in parts, on a file system that several machines share:
 *
 *     owner         record that terge made the folder
 *     *.bound       what the folder is for: the same text for all who work here
 *     *.record      small results, each complete before it has its name
 *     *.journal     records of unfinished work, one file for each process that ever worked here
 *     *.sent        what each of them has uploaded
 *     *.running     processes that work here now
 *     outputs/N     the files of an output, which all processes write together
 *     uploads       work folders of outputs that are uploaded from here
 *     try-*         files of one process
 *
 * There is no lock: each change is one that any number of processes can make at the same time. As with the work folder of an output,
 * terge neither uses nor removes a folder that it did not make.
 */
import { randomBytes } from 'node:crypto'
import { constants } from 'node:fs'
import { link, lstat, mkdir, readdir, rm, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { type Fault, fault } from '../../../core/diagnostics.js'
import { quote } from '../../../core/suggest.js'
import { attempt } from '../../../core/system/attempt.js'
import { flush, move, removeTree } from '../../../core/system/disk.js'
import { type MeetingPlace, TEXT } from '../../meeting/types.js'
import { makeFolder } from '../makeFolder.js'
import { type FileContent, openOwn, readOwn, statusOf, writeNew } from '../workFolder.js'

const OWNER = 'owner'
const OUTPUTS = 'outputs'
const UPLOADS = 'uploads'
const TRY = /^try-[0-9a-f]{16}(\.new)?$/
/** Bytes of an owner record. */
const MOST_LINE = 10_000

/** A name that no other process uses. */
export const ownName = (): string => randomBytes(8).toString('hex')

const foreign = (folder: string, what: string): Fault =>
  fault(
    'foreign-work-folder',
    `${folder}: ${what}, so terge neither uses nor removes this work folder`,
    'check what it is, remove or rename it, or choose another folder with --work, then run again',
  )

/** Makes the folder if it is missing, and refuses one that terge did not make. Errors: `foreign-work-folder`, `cannot-write`. */
export const openShared = (folder: string): Promise<void> =>
  attempt(folder, 2, async () => {
    await makeFolder(folder)
    if (await isOwned(folder)) return checkShared(folder)
    // Whoever made the folder writes the owner record before anything else.
    const names = (await readdir(folder)).filter((name) => !TRY.test(name))
    if (names.length === 0 || (names.length === 1 && names[0] === OWNER)) await writeOwner(folder)
    if (!(await isOwned(folder)))
      throw foreign(folder, `it holds ${quote(names[0] ?? OWNER)} and no record that terge made it in this place`)
    await checkShared(folder)
  })

/** Whether terge made a folder there. Error: `foreign-work-folder` if there is something else. */
export const isShared = (folder: string): Promise<boolean> =>
  attempt(folder, 2, async () => {
    const entry = await statusOf(folder)
    if (!entry) return false
    if (!entry.isDirectory()) throw foreign(folder, 'it is not a folder')
    const names = await readdir(folder)
    if (names.length === 0) return false
    if (!(await isOwned(folder)))
      throw foreign(folder, `it holds ${quote(names[0]!)} and no record that terge made it in this place`)
    await checkShared(folder)
    return true
  })

/** By its inode alone: other machines can see another time of birth. */
async function writeOwner(folder: string): Promise<void> {
  const { ino } = await lstat(folder, { bigint: true })
  await replace(folder, OWNER, `${JSON.stringify({ terge: 1, parts: String(ino) })}\n`, false)
}

async function isOwned(folder: string): Promise<boolean> {
  const entry = await statusOf(folder)
  const text = await readShared(path.join(folder, OWNER), MOST_LINE)
  if (!entry?.isDirectory() || text === undefined) return false
  try {
    const { terge, parts } = JSON.parse(text) as { terge: unknown; parts: unknown }
    return terge === 1 && parts === String(entry.ino)
  } catch {
    return false
  }
}

/** Refuses what other users own, what terge does not write, and anything that leads elsewhere. */
async function checkShared(folder: string): Promise<void> {
  const own = await statusOf(folder)
  const user = process.geteuid?.()
  if (!own?.isDirectory()) throw foreign(folder, 'it is not a folder')
  if (user !== undefined && own.uid !== BigInt(user)) throw foreign(folder, `it belongs to user ${own.uid}`)
  for (const name of await readdir(folder)) {
    const isFolder = name === OUTPUTS || name === UPLOADS
    const isKnown = isFolder || name === OWNER || TEXT.test(name) || TRY.test(name)
    if (!isKnown) throw foreign(folder, `it holds ${quote(name)}, which terge does not write`)
    const entry = await statusOf(path.join(folder, name))
    if (!entry) continue
    // An attempt is a folder or a file, and a file of two names for a moment.
    const right = isFolder
      ? entry.isDirectory()
      : TRY.test(name)
        ? entry.isDirectory() || entry.isFile()
        : entry.isFile()
    if (!right) throw foreign(folder, `${quote(name)} in it is not what terge writes`)
    if (entry.uid !== own.uid) throw foreign(folder, `${quote(name)} in it belongs to user ${entry.uid}`)
  }
}

/** Milliseconds. */
const PACE = { beat: 3000, patience: 15_000, pause: 1000 }

/** The folder as a place where parts meet. */
export const folderPlace = (folder: string): MeetingPlace => ({
  ...{ reference: folder, folder, pace: PACE },
  open: () => openShared(folder),
  isThere: () => isShared(folder),
  names: async () => (await readdir(folder)).filter((name) => TEXT.test(name)),
  read: (name, most) => attempt(folder, 1, () => readShared(path.join(folder, name), most)),
  write: (name, content, sync = false) => attempt(folder, 1, () => replace(folder, name, content, sync)),
  create: (name, text) => attempt(folder, 2, () => create(folder, name, text)),
  refresh: (name, text) => writeFile(path.join(folder, name), text, { flag: 'r+' }),
  remove: (name) => attempt(folder, 1, () => rm(path.join(folder, name), { force: true })),
  async clear(isKept) {
    const kept = (await readdir(folder)).filter((name) => TEXT.test(name) && isKept(name))
    if (kept.length === 0) return removeShared(folder)
    for (const name of await readdir(folder))
      if (name !== OWNER && !kept.includes(name)) await attempt(folder, 1, () => removeTree(path.join(folder, name)))
  },
})

async function create(folder: string, name: string, text: string): Promise<void> {
  const own = path.join(folder, `try-${ownName()}`)
  const file = path.join(folder, name)
  await writeNew(own, text)
  try {
    await link(own, file).catch(async (error: NodeJS.ErrnoException) => {
      // A file system without hard links.
      if (error.code !== 'EEXIST') await move(own, file)
    })
  } finally {
    await rm(own, { force: true })
  }
}

async function replace(folder: string, name: string, content: FileContent, sync: boolean): Promise<void> {
  const own = path.join(folder, `try-${ownName()}`)
  try {
    await writeNew(own, content, sync)
    await move(own, path.join(folder, name))
  } catch (error) {
    await rm(own, { force: true })
    throw error
  }
  if (sync) await flush(folder)
}

/** Reads a regular file without following links. For a moment, it can have two names, or none if it is replaced by an equal one. */
async function readShared(file: string, most: number): Promise<string | undefined> {
  for (let attempts = 0; ; attempts++) {
    const text = await readOwn(file, most)
    if (text !== undefined || attempts === 50 || !(await statusOf(file))) return text
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

/** Removes a work folder that `isShared` has accepted. Error: `cannot-write`. */
export const removeShared = (folder: string): Promise<void> => attempt(folder, 1, () => removeTree(folder))

/** The folder of an output's files. */
export const outputFolder = (folder: string, output: number): string => path.join(folder, OUTPUTS, String(output))

/** The folder of outputs that are uploaded. */
export const uploadsFolder = (folder: string): string => path.join(folder, UPLOADS)

/** A folder for one process, which removes it. */
export async function makeOwnFolder(folder: string): Promise<string> {
  const own = path.join(folder, `try-${ownName()}`)
  await mkdir(own)
  return own
}

/** Opens a file for writing and makes it if it is missing. Any number of processes can do so at the same time. */
export const openCommon = async (file: string) => openOwn(file, constants.O_RDWR | constants.O_CREAT)
