/** A lock file that names its process, so that a lock whose process was killed is known to be stale. */
import { readFileSync } from 'node:fs'
import { link, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { FileProblem, fileFault, readRegular } from './regular.js'

/** Which process holds a lock: `pid start`. The start tells it from a later process with the same number. */
const SELF = `${process.pid} ${startOf(process.pid) ?? '-'}`

/** When a process started, in a form to compare; nothing where the system doesn't say. Linux: boot and clock ticks since. */
function startOf(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
    // The second field is the program's name in parentheses and may hold anything; the start is the 22nd.
    const ticks = stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19]
    return `${readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim()}/${ticks}`
  } catch {
    return undefined
  }
}

/** Bytes. */
const MAX_HOLDER_BYTES = 1000

/** Tells apart the attempts of one process. */
let attempts = 0

function isAlive(holder: string): boolean {
  const [, digits, start] = /^(\d{1,10}) (\S+)$/.exec(holder) ?? []
  if (digits === undefined) return false
  const pid = Number(digits)
  try {
    process.kill(pid, 0)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EPERM') return false
  }
  const now = startOf(pid)
  return start === '-' || now === undefined || now === start
}

/**
 * Takes the lock of a folder, also from a process that is no more. Returns the process number of the one that holds it,
 * where that is alive. Fails as the file system does where the folder is gone.
 *
 * Locks are numbered and none is ever taken away from another: the next number can be made by one process alone, and who
 * has made one looks whether anyone alive stands beside it.
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
    // Locks hold; who looks next removes what a failing disk keeps.
    await rm(own, { force: true }).catch(() => {})
  }
}

/** Gives the lock back, and what is left of earlier ones; the highest number goes last. */
export async function releaseLock(folder: string): Promise<void> {
  for (const { name } of await locks(folder).catch(() => [])) await rm(path.join(folder, name), { force: true })
}

/** Whether a file of this name is a lock, or one that is being made. */
export const isLockFile = (name: string): boolean => isLock(name) || /^\.lock-\d+-\d+$/.test(name)

export const isLock = (name: string): boolean => /^lock\.\d{1,9}$/.test(name)

/** In the order of their numbers. */
async function locks(folder: string): Promise<{ name: string; number: number; pid: number; alive: boolean }[]> {
  const found = []
  for (const name of (await readdir(folder)).filter(isLock)) {
    const holder = await readRegular(path.join(folder, name), { most: MAX_HOLDER_BYTES }).catch((error: unknown) => {
      if (error instanceof FileProblem && error.kind === 'missing') return ''
      throw fileFault(error, path.join(folder, name))
    })
    const text = holder.toString('latin1')
    found.push({ name, number: Number(name.slice(5)), pid: Number.parseInt(text, 10), alive: isAlive(text) })
  }
  return found.sort((a, b) => a.number - b.number)
}

/** Puts the text of `from` under the lock's name, whole and at once; false if there is a lock already. */
async function place(from: string, file: string): Promise<boolean> {
  try {
    await link(from, file)
    return true
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'EEXIST') return false
    if (code === 'ENOENT') throw error
    // File systems without hard links.
    return writeFile(file, await readFile(from), { flag: 'wx' }).then(
      () => true,
      (other: NodeJS.ErrnoException) => {
        if (other.code === 'EEXIST') return false
        throw other
      },
    )
  }
}
