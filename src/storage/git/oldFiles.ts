/**
 * The files of a revision where programs can read them. What is the same now is read where it is; what has changed is written into a
 * folder of its own, which is removed at the end. Of a submodule, the commit counts that the revision has of it.
 */
import { createHash } from 'node:crypto'
import {
  closeSync,
  constants,
  copyFileSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readlinkSync,
  readSync,
  realpathSync,
  rmSync,
  statSync,
} from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { Fault } from '../../core/diagnostics.js'
import { leadsDown } from '../leadsDown.js'
import type { FolderEntry } from '../local/places.js'
import { GitProblem } from './command.js'
import { oldNames } from './oldNames.js'
import { openRevision, type Revision, type RevisionFile } from './revision.js'

export interface OldFiles {
  /** Where the content is that a file or folder had in the revision. Without one there, the place does not exist. */
  readonly place: (file: string) => string
  /** The entries that a folder had, and those of today that git never had; undefined if it did not exist. */
  readonly entries: (folder: string) => readonly FolderEntry[] | undefined
  /** By the path that was asked for: why its old content cannot be read. */
  readonly unreachable: ReadonlyMap<string, string>
  /** Whether a file was written here, so that another one has the content of today. */
  readonly isOld: (file: string) => boolean
  /** The path of today for a place. */
  readonly original: (place: string) => string
  readonly remove: () => void
}

/** More is not written. */
const MOST_BYTES = 2 ** 35
const MOST_FILES = 10_000
/** Larger files are only copied where that costs nothing. */
const MOST_COPIED = 2 ** 30

/** Why the old content of a path cannot be read. */
class Unreachable extends Error {}

export function oldFiles(revision: Revision): OldFiles {
  const folder = settledTemporary()
  const known = new Map<string, string>()
  const unreachable = new Map<string, string>()
  const ownerOf = submodules(revision)
  const find = (asked: string): string => {
    let target = path.join(folder, 'unreachable')
    try {
      const file = followed(revision, asked)
      const within = revision.within(file)
      if (within === undefined) return file
      target = within === '' ? folder : path.join(folder, ...within.split('/'))
      const owner = ownerOf(file)
      return bring(owner, file, owner.within(file)!, target)
    } catch (error) {
      if (!(error instanceof Unreachable || error instanceof GitProblem)) throw error
      unreachable.set(asked, error.message)
      rmSync(target, { recursive: true, force: true })
      return target
    }
  }
  const isOld = (file: string): boolean => file.startsWith(folder + path.sep)
  return {
    place(file) {
      const found = known.get(file) ?? find(file)
      known.set(file, found)
      return found
    },
    entries(asked) {
      try {
        const file = followed(revision, asked)
        return oldNames(ownerOf(file), file)
      } catch (error) {
        if (error instanceof Unreachable || error instanceof GitProblem) return undefined
        throw error
      }
    },
    unreachable,
    isOld,
    original: (place) => (isOld(place) ? path.join(revision.root, path.relative(folder, place)) : place),
    remove: () => rmSync(folder, { recursive: true, force: true }),
  }
}

/** A new folder, without links in its path. */
const settledTemporary = (): string => realpathSync(mkdtempSync(path.join(os.tmpdir(), 'terge-revision-')))

const MOST_LINKS = 40

/** The path after all links on the way: as they were in the revision, or as they are now where git has none. */
function followed(revision: Revision, asked: string): string {
  let file = asked
  for (let links = 0; links < MOST_LINKS; links++) {
    const next = pastLink(revision, file)
    if (next === undefined) return file
    file = next
  }
  throw new Unreachable('too many links lead to it')
}

/** The path with the first link on the way replaced; undefined if there is none. */
function pastLink(revision: Revision, file: string): string | undefined {
  const within = revision.within(file)
  const steps = within === undefined || within === '' ? [] : within.split('/')
  const ways = steps.map((_, index) => steps.slice(0, index + 1).join('/'))
  const then = new Map(revision.entries(ways).map((entry) => [entry.path, entry]))
  for (const [index, way] of ways.entries()) {
    const here = path.join(revision.root, ...way.split('/'))
    const old = then.get(way)
    const isLink = lstatSync(here, { throwIfNoEntry: false })?.isSymbolicLink()
    const rest = steps.slice(index + 1)
    if (old?.mode === LINK) {
      const text = revision.content(old).toString('utf8')
      return path.join(path.resolve(path.dirname(here), text), ...rest)
    }
    if (old || !isLink) continue
    if (revision.tracked(way).has(way))
      throw new Unreachable(`${way} is not in ${revision.name}, where git got it later`)
    return path.join(realpathOf(here), ...rest)
  }
  return undefined
}

const LINK = '120000'
const SUBMODULE = '160000'

/** Finds the revision that has a file: the one of the repository, or what it had of the submodule on the way to the file. */
function submodules(revision: Revision): (file: string) => Revision {
  const known = new Map<string, Revision>()
  const ownerOf = (outer: Revision, file: string): Revision => {
    const within = outer.within(file)
    const steps = within === undefined || within === '' ? [] : within.split('/')
    const ways = steps.map((_, index) => steps.slice(0, index + 1).join('/'))
    const then = new Map(outer.entries(ways).map((entry) => [entry.path, entry]))
    for (const way of ways) {
      const old = then.get(way)
      const place = path.join(outer.root, ...way.split('/'))
      if (old?.mode === SUBMODULE) {
        const inner = known.get(place) ?? openSubmodule(outer, place, old)
        known.set(place, inner)
        return ownerOf(inner, file)
      }
      if (!old && isFolder(place) && outer.tracked(way).has(way))
        throw new Unreachable(`the submodule ${way} is not in ${outer.name}, where git got it later`)
    }
    return outer
  }
  return (file) => ownerOf(revision, file)
}

const isFolder = (place: string): boolean => lstatSync(place, { throwIfNoEntry: false })?.isDirectory() === true

/** The commit of a submodule that a revision has. Without a repository of its own there, git would answer for the one around it. */
function openSubmodule({ name }: Revision, place: string, { path: way, id }: RevisionFile): Revision {
  try {
    const inner = isFolder(place) ? openRevision(place, id) : undefined
    if (inner?.root === place) return { ...inner, name }
  } catch (error) {
    if (!(error instanceof Fault)) throw error
  }
  throw new Unreachable(
    `the commit ${id.slice(0, 12)} of the submodule ${way}, which ${name} has, is not on this machine: run git submodule update --init, or git fetch in it`,
  )
}

const realpathOf = (link: string): string =>
  existsSync(link) ? realpathSync(link) : path.resolve(path.dirname(link), readlinkSync(link))

/** The place of the old content of `file`. */
function bring(revision: Revision, file: string, within: string, target: string): string {
  const then = revision.files(within)
  const now = revision.tracked(within)
  // What git never had is the same file for both.
  if (then.length === 0 && now.size === 0) return file
  if (then.length === 0) throw new Unreachable(`it is not in ${revision.name}, where git got it later`)
  const present = then.every((one) => isSame(revision, one))
  const added = [...now].some((name) => !then.some((one) => one.path === name))
  if (present && !added) return file
  extract(revision, then)(target, within)
  bringUntracked(file, new Set([...now, ...then.map((one) => one.path)]), within, target)
  return target
}

/** Whether a file has today the content that it had, byte by byte. */
function isSame(revision: Revision, old: RevisionFile): boolean {
  const file = path.join(revision.root, ...old.path.split('/'))
  const entry = lstatSync(file, { throwIfNoEntry: false })
  if (!entry?.isFile() || !old.mode.startsWith('100')) return false
  if (entry.size === old.size && blobId(file, entry.size, old.id.length) === old.id) return true
  const pointer = pointerOf(revision, old)
  return pointer !== undefined && entry.size === pointer.size && hashOf(file, 'sha256') === pointer.id
}

function hashOf(file: string, algorithm: 'sha1' | 'sha256', head = ''): string {
  const hash = createHash(algorithm).update(head)
  const buffer = Buffer.alloc(2 ** 20)
  const descriptor = openSync(file, 'r')
  try {
    for (let read = readSync(descriptor, buffer); read > 0; read = readSync(descriptor, buffer))
      hash.update(buffer.subarray(0, read))
  } finally {
    closeSync(descriptor)
  }
  return hash.digest('hex')
}

/** The id that git gives this content. */
const blobId = (file: string, size: number, digits: number): string =>
  hashOf(file, digits === 64 ? 'sha256' : 'sha1', `blob ${size}\0`)

/** Longest pointer of Git LFS. */
const POINTER = 1024

interface Pointer {
  readonly id: string
  readonly size: number
}

/** What git stores instead of a file that Git LFS has. */
function pointerOf(revision: Revision, old: RevisionFile): Pointer | undefined {
  if (old.size > POINTER) return undefined
  const text = revision.content(old).toString('latin1')
  const [, id, size] =
    /^version https:\/\/git-lfs\.github\.com\/spec\/v1\n(?:ext-.*\n)*oid sha256:([0-9a-f]{64})\nsize (\d{1,15})\n/.exec(
      text,
    ) ?? []
  return id === undefined ? undefined : { id, size: Number(size) }
}

/** Writes the old files to their places. */
const extract = (revision: Revision, files: readonly RevisionFile[]) => (target: string, within: string) => {
  const bytes = files.reduce((sum, { size }) => sum + size, 0)
  if (files.length > MOST_FILES || bytes > MOST_BYTES) throw new Unreachable('it is too large to be copied out of git')
  for (const file of files) {
    if (!file.mode.startsWith('100')) throw new Unreachable(`${file.path} is a link or a submodule there`)
    if (!leadsDown(file.path)) throw new Unreachable(`${file.path} is not a path that can be written here`)
    const inside = path.posix.relative(within, file.path)
    const place = inside === '' ? target : path.join(target, ...inside.split('/'))
    if (existsSync(place)) continue
    mkdirSync(path.dirname(place), { recursive: true })
    const pointer = pointerOf(revision, file)
    if (pointer) bringFile(storedPointer(revision, file, pointer), place)
    else writeBlob(revision, file, place)
  }
}

function writeBlob(revision: Revision, file: RevisionFile, place: string): void {
  const descriptor = openSync(place, 'wx')
  try {
    revision.write(file, descriptor)
  } finally {
    closeSync(descriptor)
  }
  if (statSync(place).size !== file.size) throw new Unreachable(`git did not print all of ${file.path}`)
}

/** A file with the content that a pointer means: of today, or as Git LFS keeps it in the repository. */
function storedPointer(revision: Revision, { path: name }: RevisionFile, { id, size }: Pointer): string {
  const kept = path.join(revision.data(), 'lfs', 'objects', id.slice(0, 2), id.slice(2, 4), id)
  for (const file of [kept, path.join(revision.root, ...name.split('/'))]) {
    const entry = lstatSync(file, { throwIfNoEntry: false })
    if (entry?.isFile() && entry.size === size && hashOf(file, 'sha256') === id) return file
  }
  throw new Unreachable(`the content of ${name} in ${revision.name} is in Git LFS, and not on this machine`)
}

/** Files of a folder that git does not have: they are those of today. */
function bringUntracked(file: string, tracked: ReadonlySet<string>, within: string, target: string): void {
  const entry = statSync(file, { throwIfNoEntry: false })
  if (!entry?.isDirectory()) return
  const visit = (inside: string): void => {
    for (const found of readdirSync(path.join(file, inside), { withFileTypes: true })) {
      if (found.name === '.git') continue
      const name = path.join(inside, found.name)
      const inGit = path.posix.join(within, name.split(path.sep).join('/'))
      if (tracked.has(inGit)) continue
      if (found.isDirectory()) visit(name)
      else if (found.isFile()) bringFile(path.join(file, name), path.join(target, name))
      else throw new Unreachable(`${inGit} is not in git and not a regular file`)
    }
  }
  visit('')
}

/** Copies a file. A hard link would change the file's times, and with them its state for a run that reads it. */
function bringFile(from: string, to: string): void {
  mkdirSync(path.dirname(to), { recursive: true })
  try {
    if (statSync(from).size <= MOST_COPIED) copyFileSync(from, to, constants.COPYFILE_FICLONE)
    else copyFileSync(from, to, constants.COPYFILE_FICLONE_FORCE)
  } catch {
    throw new Unreachable(`${path.basename(from)} is not in git and too large to be copied beside the old files`)
  }
}
