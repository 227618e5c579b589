/** The files of a model as a signature sees them. */
import { createHash } from 'node:crypto'
import { lstat, readdir, stat } from 'node:fs/promises'
import path from 'node:path'
import { compareNames } from '../checkpoints/canonicalJson.js'
import { mapEach } from '../core/collections/eachOf.js'
import { fault } from '../core/diagnostics.js'
import { type Bounds, boundsOf, fileFault, openRegular } from '../storage/local/regular.js'
import { algorithmOf } from './manifest.js'
import type { Resource, Serialization } from './types.js'

/** Files of git and its hosts. They are outside of a signature, unless it lists them. */
export const GIT_PATHS: readonly string[] = ['.git', '.gitattributes', '.github', '.gitignore']

/** Files that are hashed at the same time. */
const AT_ONCE = 4
/** Bytes that are read at once. */
const BUFFER = 2 ** 20

/** A model that is signed or checked. */
export interface SignedModel {
  /** The folder, or the only file. */
  readonly place: string
  readonly isFile: boolean
}

/** A file of a model. */
export interface ModelFile {
  /** As in manifests. */
  readonly name: string
  readonly path: string
}

/** A path in its shortest form, as the standard's tool compares paths: without `./`, `//` and a slash at its end. */
export const shortPath = (given: string): string => path.posix.normalize(given).replace(/(?<=.)\/+$/, '')

/** Whether a path is another one, or in it. */
export const covers = (ignored: string, name: string): boolean =>
  ignored === '.' || name === ignored || name.startsWith(`${ignored}/`)

/** How manifests order names: by the parts of the path, and those by code points. */
export function compareByParts(a: string, b: string): number {
  const [one, other] = [a.split('/'), b.split('/')]
  for (const [index, part] of one.entries()) {
    const against = other[index]
    if (against === undefined) return 1
    const order = compareNames(part, against)
    if (order !== 0) return order
  }
  return one.length - other.length
}

/**
 * All files of a model but those under `paths`, in the order of manifests. Folders that a signature does not cover are not
 * read. Error: `cannot-read`.
 */
export async function filesOf({ place, isFile }: SignedModel, paths: readonly string[]): Promise<ModelFile[]> {
  if (isFile) return [{ name: '.', path: place }]
  const ignored = paths.map(shortPath)
  const files: ModelFile[] = []
  const visit = async (inside: string): Promise<void> => {
    const folder = path.join(place, inside)
    const entries = await readdir(folder, { withFileTypes: true }).catch((error: NodeJS.ErrnoException) => {
      throw fault('cannot-read', `${folder} cannot be read: ${error.code}`, 'check the path and its permissions')
    })
    for (const entry of entries) {
      const name = inside === '' ? entry.name : `${inside}/${entry.name}`
      if (ignored.some((one) => covers(one, name))) continue
      if (entry.isDirectory()) await visit(name)
      else files.push({ name, path: path.join(place, name) })
    }
  }
  await visit('')
  return files.sort((a, b) => compareByParts(a.name, b.name))
}

/** Those of files that exist. */
export async function present(files: readonly ModelFile[]): Promise<ModelFile[]> {
  const entries = await Promise.all(files.map(({ path }) => lstat(path).catch(() => undefined)))
  return files.filter((_, index) => entries[index])
}

/** Why a file that is a link is not hashed, as text that follows its name; undefined for others. */
async function linkProblem(
  { path: file }: ModelFile,
  allowed: boolean,
  bounds: Bounds | undefined,
): Promise<string | undefined> {
  const isLink = await lstat(file).then(
    (entry) => entry.isSymbolicLink(),
    () => false,
  )
  // The hub's cache has links into its blobs.
  if (!isLink || allowed || bounds?.blobs !== undefined) return undefined
  return 'is a symbolic link, which this signature does not allow'
}

/** The digests of a file, or why it has none, as text that follows its name. */
export type Hashed = { readonly file: ModelFile } & (
  | { readonly resources: readonly Resource[] }
  | { readonly problem: string }
)

export interface HashOptions {
  readonly signal?: AbortSignal | undefined
  /** Called with the bytes of each piece. */
  readonly progress?: ((bytes: number) => void) | undefined
  /** `sha256:…` of a whole file, where something else hashes files too. */
  readonly sumOf?: ((file: string, within: Bounds | undefined) => Promise<string>) | undefined
}

/** The digests of files, in their order. Links lead only inside of the model, and from a snapshot in a cache to its blobs. */
export async function hashFiles(
  { place, isFile }: SignedModel,
  files: readonly ModelFile[],
  serialization: Serialization,
  options: HashOptions,
): Promise<Hashed[]> {
  const bounds = isFile ? undefined : await boundsOf(place)
  return mapEach(files, AT_ONCE, async (file) => {
    const problem = await linkProblem(file, serialization.allowSymlinks, bounds)
    if (problem !== undefined) return { file, problem }
    return { file, resources: await digestsOf(file, serialization, bounds, options) }
  })
}

/** The digest of a file, or those of its pieces. Errors: `cannot-read`, `outside-link`. */
async function digestsOf(
  { name, path: file }: ModelFile,
  serialization: Serialization,
  within: Bounds | undefined,
  { signal, progress, sumOf }: HashOptions,
): Promise<Resource[]> {
  const { method, hash, shardSize } = serialization
  if (sumOf && method === 'files' && hash === 'sha256') {
    try {
      const sum = await sumOf(file, within)
      progress?.((await stat(file)).size)
      return [{ name, algorithm: algorithmOf(serialization), digest: sum.replace(/^sha256:/, '') }]
    } catch (error) {
      throw fileFault(error, file)
    }
  }
  const algorithm = algorithmOf(serialization)
  const fresh = () => createHash(hash === 'sha256' ? 'sha256' : 'blake2b512')
  const found: Resource[] = []
  try {
    const { handle, size } = await openRegular(file, within)
    const buffer = Buffer.alloc(Math.min(BUFFER, Math.max(size, 1)))
    try {
      const step = method === 'files' ? Number.POSITIVE_INFINITY : shardSize!
      // A file without bytes has one digest, but no pieces.
      for (let start = 0; start < size || (start === 0 && method === 'files'); start += step) {
        const end = Math.min(size, start + step)
        const digest = fresh()
        for (let at = start; at < end; ) {
          signal?.throwIfAborted()
          const { bytesRead } = await handle.read(buffer, 0, Math.min(buffer.length, end - at), at)
          if (bytesRead === 0) throw fault('cannot-read', `${file} became shorter while it was read`, 'try again')
          digest.update(buffer.subarray(0, bytesRead))
          progress?.(bytesRead)
          at += bytesRead
        }
        found.push({
          name: method === 'files' ? name : `${name}:${start}:${end}`,
          algorithm,
          digest: digest.digest('hex'),
        })
      }
      return found
    } finally {
      await handle.close()
    }
  } catch (error) {
    throw fileFault(error, file)
  }
}
