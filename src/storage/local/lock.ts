/** Lock files that name their process, so that the lock of a killed process is recognized as stale. */
import { link, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { hasMark, ownMark } from '../../core/system/processStart.js'
import { FileProblem, fileFault, readRegular } from './regular.js'

/** The holder of a lock: `pid mark`. The mark distinguishes it from a later process with the same number. */
const SELF = `${process.pid} ${ownMark(process.pid)}`

/** Bytes. */
const MAX_HOLDER_BYTES = 1000

/** Makes the file names of one process unique. */
let attempts = 0

/** Whether a process of this machine lives: `pid mark`. */
export function isAliveHere(holder: string): boolean {
  const [, digits, mark] = /^(\d{1,10}) (\S+)$/.exec(holder) ?? []
  if (digits === undefined || mark === undefined) return false
  const pid = Number(digits)
  try {
    process.kill(pid, 0)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EPERM') return false
  }
  return hasMark(pid, mark)
}

/**
 * Takes the lock of a folder, unless a running process holds it: then returns its process number. Throws the error of the
 * file system if the folder does not exist.
 *
 * Locks are numbered, and no process removes the lock of another. Only one process can create the next number. After
 * creating it, the process checks whether a running process has another lock.
 */
export async function takeLock(folder: string): Promise<number | undefined> {
  const own = path.join(folder, `.lock-${process.pid}-${attempts++}`)
  try {
    await writeFile(own, SELF, { flag: 'wx' })
    for (;;) {
      const before = await locks(folder)
      const holder = before.find(({ alive }) => alive)
      if (holder) return holder.pid
      const name = `lock.${(before.at(-1)?.number ?? 0) + 1}`
      if (!(await place(own, path.join(folder, name)))) continue
      const other = (await locks(folder)).find((lock) => lock.alive && lock.name !== name)
      if (!other) return undefined
      await rm(path.join(folder, name), { force: true })
      return other.pid
    }
  } finally {
    // The lock is valid without this cleanup; a later run repeats it if the disk fails.
    await rm(own, { force: true }).catch(() => {})
  }
}

/** Releases the lock and removes stale ones. The highest number is removed last. */
export async function releaseLock(folder: string): Promise<void> {
  for (const { name } of await locks(folder).catch(() => [])) await rm(path.join(folder, name), { force: true })
}

/** Whether a file with this name is a lock, or one that is being created. */
export const isLockFile = (name: string): boolean => isLock(name) || /^\.lock-\d+-\d+$/.test(name)

export const isLock = (name: string): boolean => /^lock\.\d{1,9}$/.test(name)

/** All locks of a folder, sorted by number. */
async function locks(folder: string): Promise<{ name: string; number: number; pid: number; alive: boolean }[]> {
  const found = []
  for (const name of (await readdir(folder)).filter(isLock)) {
    const holder = await readRegular(path.join(folder, name), { most: MAX_HOLDER_BYTES }).catch((error: unknown) => {
      if (error instanceof FileProblem && error.kind === 'missing') return ''
      throw fileFault(error, path.join(folder, name))
    })
    const text = holder.toString('latin1')
    found.push({ name, number: Number(name.slice(5)), pid: Number.parseInt(text, 10), alive: isAliveHere(text) })
  }
  return found.sort((a, b) => a.number - b.number)
}

/** Creates the lock with the text of `from`, atomically. False if the lock exists. */
async function place(from: string, file: string): Promise<boolean> {
  try {
    await link(from, file)
    return true
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'EEXIST') return false
    if (code === 'ENOENT') throw error
    // For file systems without hard links.
    return writeFile(file, await readFile(from), { flag: 'wx' }).then(
      () => true,
      (other: NodeJS.ErrnoException) => {
        if (other.code === 'EEXIST') return false
        throw other
      },
    )
  }
}
