import path from 'node:path'
import { type FolderEntry, folderEntries } from '../local/places.js'
import type { Revision } from './revision.js'

const KINDS: Readonly<Record<string, FolderEntry['kind']>> = { '100': 'file', '040': 'folder', '120': 'link' }

/**
 * The entries that a folder had in a revision, together with those of today that git never had. Undefined if there is no such folder.
 * The folder itself is not a link.
 */
export function oldNames(revision: Revision, folder: string): readonly FolderEntry[] | undefined {
  const today = folderEntries(folder)
  const within = revision.within(folder)
  if (within === undefined) return today
  const below = within === '' ? '' : `${within}/`
  const tracked = [...revision.tracked(within)].map((name) => name.slice(below.length).split('/')[0]!)
  const old = revision.files(within).map((file) => file.path.slice(below.length).split('/')[0]!)
  if (!today && old.length === 0) return undefined
  const modes = new Map(
    revision.entries([...new Set(old)].map((name) => below + name)).map(({ path, mode }) => [path, mode]),
  )
  const then = [...new Set(old)].map((name): FolderEntry => {
    return { name, kind: KINDS[modes.get(below + name)?.slice(0, 3) ?? ''] ?? 'other' }
  })
  const known = new Set([...tracked, ...old])
  return [...then, ...(today ?? []).filter(({ name }) => !known.has(name) && path.basename(name) !== '.git')]
}
