/** Compares a lineage's models from the hub and from stores, which may no longer be on this machine, with the lock next to its recipe. */
import path from 'node:path'
import type { Diagnostic } from '../core/diagnostics.js'
import { Fault } from '../core/diagnostics.js'
import { addressIn } from '../core/names/fileNames.js'
import { locksIn } from './disk.js'
import { type Lock, readLock } from './lock.js'
import type { Lineage } from './types.js'

/** Reads at most so many locks of a folder. */
const MOST_LOCKS = 100

/**
 * Compares a lineage's models from elsewhere with the lock of its recipe, which is searched for in `folders`. Another commit is a warning,
 * because the lock can be newer. Other bytes of the same commit are an error.
 */
export async function compareLock(lineage: Lineage, folders: readonly (string | undefined)[]): Promise<Diagnostic[]> {
  const hub = Object.entries(lineage.models).filter(([, { reference }]) => addressIn(reference) !== undefined)
  const found = hub.length > 0 ? await findLock(lineage, folders) : undefined
  if (!found) return []
  const problems: Diagnostic[] = []
  const report = (severity: Diagnostic['severity'], message: string, hint: string) =>
    problems.push({ severity, code: 'lock-differs', message: `${message} (${path.basename(found.file)})`, hint })
  for (const [name, { revision, files }] of hub) {
    const locked = found.lock.models[name]!
    if (locked.commit !== revision) {
      report(
        'warning',
        `${name}: merged at commit ${revision}, but locked at ${locked.commit}`,
        'the lock was written at another time: run the recipe again with --locked',
      )
      continue
    }
    for (const { name: file, size, digest, sha256 } of files) {
      const pinned = locked.files.find((other) => other.name === file)
      const same =
        pinned !== undefined &&
        pinned.size === size &&
        (digest === null || digest === pinned.digest) &&
        (sha256 === undefined || sha256 === pinned.sha256)
      if (!same)
        report(
          'error',
          `${name}: ${file} differs between the lineage and the lock`,
          'the lineage or the lock was edited, or the run read a damaged file',
        )
    }
  }
  return problems
}

/** The first lock with all models of a lineage under their names. */
async function findLock(
  lineage: Lineage,
  folders: readonly (string | undefined)[],
): Promise<{ file: string; lock: Lock } | undefined> {
  for (const folder of new Set(folders)) {
    if (folder === undefined) continue
    for (const file of (await locksIn(folder)).slice(0, MOST_LOCKS)) {
      try {
        const lock = await readLock(file)
        const fits = Object.entries(lineage.models).every(
          ([name, { reference }]) => Object.hasOwn(lock.models, name) && lock.models[name]!.reference === reference,
        )
        if (fits) return { file, lock }
      } catch (error) {
        // Locks of other programs can have such names too.
        if (!(error instanceof Fault)) throw error
      }
    }
  }
  return undefined
}
