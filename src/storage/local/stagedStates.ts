/** Detects changes of staged files while an external program reads them. */
import type { BigIntStats } from 'node:fs'
import { readdir } from 'node:fs/promises'
import path from 'node:path'
import { identityOf, statusOf } from './workFolder.js'

/** By name, relative to the folder. */
export type StagedStates = ReadonlyMap<string, BigIntStats>

/** The states of all files in a folder of staged files. */
export async function stagedStates(folder: string): Promise<StagedStates> {
  const names = await readdir(folder, { recursive: true }).catch((): string[] => [])
  const states = new Map<string, BigIntStats>()
  for (const name of names.sort()) {
    const entry = await statusOf(path.join(folder, name))
    if (entry) states.set(name, entry)
  }
  return states
}

/** What changed in staged files, as text that follows a subject; undefined if nothing did. New plain files do not count. */
export function changeOf(before: StagedStates, after: StagedStates): string | undefined {
  for (const [name, entry] of before) {
    const now = after.get(name)
    if (!now) return `removed ${name}`
    const same = entry.isDirectory()
      ? now.isDirectory()
      : identityOf(now) === identityOf(entry) && now.ctimeNs === entry.ctimeNs
    if (!same) return `changed ${name}`
  }
  for (const [name, entry] of after)
    if (!before.has(name) && !(entry.isDirectory() || (entry.isFile() && entry.nlink === 1n)))
      return `added ${name}, which is not a plain file`
  return undefined
}
