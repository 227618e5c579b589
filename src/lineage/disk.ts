/** File access for verify: sizes, small texts, digests and comparisons of whole files, in bounded memory. */
import { Buffer } from 'node:buffer'
import { createHash } from 'node:crypto'
import { type FileHandle, readdir, realpath, stat } from 'node:fs/promises'
import path from 'node:path'
import { isIndex, withoutExtension } from '../checkpoints/containers/index.js'
import { fault } from '../core/diagnostics.js'
import { sha256 as sha256OfBytes } from '../core/digest.js'
import { addressIn } from '../core/names/fileNames.js'
import { LEAF, smallKernels, treeDigest } from '../kernels/index.js'
import { FileProblem, fileFault, openRegular, readRegular } from '../storage/local/regular.js'
import { MAX_LINEAGE, parseLineage } from './parse.js'
import type { Digest, Lineage } from './types.js'

const BUFFER = 1 << 20

/** The size of a file, or why there is none, as the end of a sentence. */
export type Size = { readonly size: number } | { readonly problem: string }

/** The size of the file at `file`, in bytes. */
export async function fileSize(file: string): Promise<Size> {
  try {
    const entry = await stat(file)
    return entry.isFile() ? { size: entry.size } : { problem: 'is not a file' }
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    return { problem: code === 'ENOENT' || code === 'ENOTDIR' ? 'does not exist' : `cannot be read: ${code}` }
  }
}

export const exists = async (file: string): Promise<boolean> => (await stat(file).catch(() => undefined)) !== undefined

/** The real path of a file that exists or not; a link at its end is not followed. */
export async function settle(file: string): Promise<string> {
  const folder = path.dirname(file)
  if (folder === file) return file
  return path.join(await realpath(folder).catch(() => settle(folder)), path.basename(file))
}

/** The same, with a link at its end followed. */
export const follow = (file: string): Promise<string> => realpath(file).catch(() => settle(file))

/** Names of the folders in a folder; empty if it cannot be read. */
export async function foldersIn(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { withFileTypes: true }).catch(() => [])
  return entries.filter((entry) => entry.isDirectory()).map(({ name }) => name)
}

/** The absolute path of `name` inside `folder`; undefined if it would be outside on this platform. */
export function inside(folder: string, name: string): string | undefined {
  const file = path.resolve(folder, name)
  const relative = path.relative(folder, file)
  return relative === '' || relative.startsWith('..') || path.isAbsolute(relative) ? undefined : file
}

/** The text of a small file, of at most `most` bytes; undefined if it does not exist. Errors: `too-long`, `cannot-read`. */
export async function readText(file: string, most: number): Promise<string | undefined> {
  try {
    return (await readRegular(file, { most })).toString('utf8')
  } catch (error) {
    if (!(error instanceof FileProblem)) throw error
    if (error.kind === 'missing') return undefined
    throw error.kind === 'size'
      ? fault('too-long', `${file} ${error.message}`, 'check that terge wrote this file')
      : fileFault(error, file)
  }
}

/** The locks of recipes in a folder, by name. */
export const locksIn = async (folder: string): Promise<string[]> =>
  (await readdir(folder).catch(() => []))
    .filter((name) => /\.ya?ml\.lock$/.test(name))
    .sort()
    .map((name) => path.join(folder, name))

/** Longer lineages are parsed in pieces. */
const LARGE = 64 * 2 ** 20

/** A lineage, the file that it was read from, and `sha256:…` of the file's bytes. */
export interface ReadLineage {
  readonly file: string
  readonly lineage: Lineage
  readonly digest: Digest
}

/** Reads and checks the lineage at `file`. Errors: `missing-lineage`, those of `parseLineage`. */
export async function readLineage(file: string): Promise<ReadLineage> {
  const hint = 'give the lineage.json of an output folder, or NAME.lineage.json next to NAME.safetensors'
  let bytes: Buffer
  try {
    bytes = await readRegular(file, { most: MAX_LINEAGE })
  } catch (error) {
    if (!(error instanceof FileProblem)) throw error
    throw fault(error.kind === 'size' ? 'bad-lineage' : 'missing-lineage', `${file} ${error.message}`, hint)
  }
  const lineage = parseLineage(bytes.length > LARGE ? bytes : bytes.toString('utf8'), file)
  return { file, lineage, digest: sha256OfBytes(bytes) }
}

/** Whether a file can be a lineage: those can have any name but the names of weights and their index. */
const isNoWeights = (base: string): boolean => withoutExtension(base) === base && !isIndex(base)

/** Whether a file can be a lineage and can be another thing that somebody signed: its name does not say. */
export const isOfAnyKind = (given: string): boolean => {
  const { base } = path.parse(given)
  return isNoWeights(base) && !/(^|\.)lineage\.json$/.test(base)
}

/**
 * Finds and reads the lineage of what the user gives: a lineage, an output folder or a checkpoint file. Errors:
 * `missing-lineage`, and those of `readLineage`.
 */
export async function findLineage(given: string): Promise<ReadLineage> {
  if (addressIn(given) !== undefined)
    throw fault(
      'missing-lineage',
      `${given}: terge reads lineages on this machine`,
      'download the output, or the lineage beside it, and give its path',
    )
  const { base, name, dir } = path.parse(given)
  const entry = await stat(given).catch(() => undefined)
  if (entry?.isDirectory()) return readLineage(await lineageIn(given))
  if (isNoWeights(base)) return readLineage(given)
  const beside = path.join(dir, `${name}.lineage.json`)
  if (await exists(beside)) return readLineage(beside)
  if (!entry?.isFile()) return readLineage(given)
  const inFolder = path.join(dir, 'lineage.json')
  const read = (await exists(inFolder)) ? await readLineage(inFolder) : undefined
  // The lineage in a folder describes only the files of its model.
  if (read && (isIndex(base) || read.lineage.output.files.some((file) => file.name === base))) return read
  const hint = 'only terge writes lineages: give an output of terge, or its lineage file'
  throw fault('missing-lineage', `${given} has no lineage next to it`, hint)
}

/** The file in which terge would have written the lineage of a model at `place`, if it is there. */
export async function lineageBeside(place: string, layout: 'file' | 'folder'): Promise<string | undefined> {
  const { dir, name } = path.parse(place)
  const inFolder = path.join(layout === 'folder' ? place : dir, 'lineage.json')
  const files = layout === 'folder' ? [inFolder] : [path.join(dir, `${name}.lineage.json`), inFolder]
  for (const file of files) if ('size' in (await fileSize(file))) return file
  return undefined
}

/** The lineage of an output folder, or the only one in a folder. */
async function lineageIn(folder: string): Promise<string> {
  const own = path.join(folder, 'lineage.json')
  if (await exists(own)) return own
  const found = await lineagesIn(folder)
  if (found.length === 1) return path.join(folder, found[0]!)
  const several = `${folder} has ${found.length} lineages`
  throw fault(
    'missing-lineage',
    found.length > 0 ? several : `${folder} has no lineage.json`,
    found.length > 0
      ? `give one of them: ${found
          .slice(0, 3)
          .map((name) => path.join(folder, name))
          .join(', ')}`
      : 'only terge writes lineages: give an output folder of terge, or a lineage file',
  )
}

/** The lineages next to files in a folder, then those of its folders, as `name/lineage.json`. */
export async function lineagesIn(folder: string): Promise<string[]> {
  const beside = (await readdir(folder)).filter((name) => name.endsWith('.lineage.json')).sort()
  const deeper: string[] = []
  for (const name of await foldersIn(folder))
    if (await exists(path.join(folder, name, 'lineage.json'))) deeper.push(`${name}/lineage.json`)
  return [...beside, ...deeper.sort()]
}

const fill = async (handle: FileHandle, buffer: Uint8Array, at: number): Promise<number> => {
  let length = 0
  while (length < buffer.length) {
    const { bytesRead } = await handle.read(buffer, length, buffer.length - length, at + length)
    if (bytesRead === 0) break
    length += bytesRead
  }
  return length
}

/** Calls `take` with the file's bytes in order, in pieces of LEAF bytes. Reuses the buffer. */
async function eachLeaf(file: string, take: (leaf: Uint8Array) => void, signal?: AbortSignal): Promise<number> {
  const { handle } = await openRegular(file)
  const buffer = new Uint8Array(LEAF)
  try {
    for (let at = 0; ; at += LEAF) {
      signal?.throwIfAborted()
      const length = await fill(handle, buffer, at)
      if (length > 0) take(buffer.subarray(0, length))
      if (length < LEAF) return at + length
    }
  } finally {
    await handle.close()
  }
}

/** `sha256:…` of the whole file. `progress`: called with the bytes of each piece. */
export async function sha256(
  file: string,
  signal?: AbortSignal,
  progress: (read: number) => void = () => {},
): Promise<Digest> {
  const hash = createHash('sha256')
  const take = (leaf: Uint8Array): void => {
    hash.update(leaf)
    progress(leaf.length)
  }
  await eachLeaf(file, take, signal)
  return `sha256:${hash.digest('hex')}`
}

/** `xxh3t:…` of the whole file, as lineages have it for files without tensors. */
export async function xxh3OfFile(file: string, signal?: AbortSignal): Promise<Digest> {
  const kernels = await smallKernels()
  const leaves: Uint8Array[] = []
  const bytes = await eachLeaf(file, (leaf) => leaves.push(kernels.hash(leaf)), signal)
  return treeDigest(kernels, Buffer.concat(leaves), bytes)
}

/** The first byte at which two files differ, or undefined if they are equal. If one is a prefix, its length. */
export async function firstDifference(one: string, other: string, signal?: AbortSignal): Promise<number | undefined> {
  const handles = [(await openRegular(one)).handle, (await openRegular(other)).handle] as const
  const buffers = [Buffer.alloc(BUFFER), Buffer.alloc(BUFFER)] as const
  try {
    for (let at = 0; ; at += BUFFER) {
      signal?.throwIfAborted()
      const [a, b] = await Promise.all([fill(handles[0], buffers[0], at), fill(handles[1], buffers[1], at)])
      if (a !== b || !buffers[0].subarray(0, a).equals(buffers[1].subarray(0, b))) {
        let from = 0
        while (from < Math.min(a, b) && buffers[0][from] === buffers[1][from]) from++
        return at + from
      }
      if (a < BUFFER) return undefined
    }
  } finally {
    await Promise.all(handles.map((handle) => handle.close()))
  }
}
