/** Compares the files of a model with a signed manifest. */
import { lstat } from 'node:fs/promises'
import { addTo } from '../core/collections/lists.js'
import type { Diagnostic } from '../core/diagnostics.js'
import { quote } from '../core/suggest.js'
import { covers, filesOf, GIT_PATHS, type HashOptions, hashFiles, type SignedModel } from './files.js'
import type { Manifest, Resource } from './types.js'

export interface CheckedFiles {
  /** Files that differ, are missing, or are not in the manifest. */
  readonly problems: readonly Diagnostic[]
  readonly files: number
  readonly bytes: number
}

const HINT = 'use the model only if you know why it changed; get it again, or ask its signer'

const problem = (message: string): Diagnostic => ({ severity: 'error', code: 'signed-files', message, hint: HINT })

/** The name of a file, without the range of a piece. */
const fileOf = (name: string, { method }: Manifest['serialization']): string =>
  method === 'files' ? name : name.replace(/:\d+:\d+$/, '')

interface FileOptions extends HashOptions {
  readonly only?: ReadonlySet<string>
  readonly ignored?: readonly string[]
}

/**
 * Checks that a model has exactly the files of a manifest. Finds files by walking the folder and never opens a name of the manifest,
 * so a path that leads out of the folder is a missing file. `own`: names of the signature and of others that it does not cover.
 * `ignored`: paths whose files need no signature.
 * `only`: the names of the files that count; those that were not signed are then not said to be new.
 */
export async function checkFiles(
  model: SignedModel,
  manifest: Manifest,
  own: readonly string[],
  { signal, progress, sumOf, only, ignored = [] }: FileOptions,
): Promise<CheckedFiles> {
  const { serialization, resources } = manifest
  const signed = new Map<string, Resource[]>()
  for (const resource of resources) addTo(signed, fileOf(resource.name, serialization), resource)
  const names = [...signed.keys()]
  const listed = (one: string): boolean => names.some((name) => name === one || name.startsWith(`${one}/`))
  const git = GIT_PATHS.filter((one) => !listed(one))
  const found = await filesOf(model, [...serialization.ignored, ...git, ...own])
  const problems: Diagnostic[] = []
  const counts = (name: string): boolean => only?.has(name) ?? true
  const known = found.filter(({ name }) => signed.has(name) && counts(name))
  const shown = (name: string): string => quote(name === '.' ? model.place : name)
  const unsigned = found.filter(
    ({ name }) => !signed.has(name) && counts(name) && !ignored.some((one) => covers(one, name)),
  )
  // A manifest of pieces has none of a file without bytes.
  const hasNone = async (path: string) => serialization.method === 'shards' && (await isEmpty(path))
  for (const { name, path } of unsigned)
    if (!(await hasNone(path)))
      problems.push(problem(`${shown(name)} is not in the signed list of files: it was added after signing`))
  // What the signer told to ignore is not found, but the run has read it.
  for (const name of only ?? [])
    if (!signed.has(name) && !unsigned.some((file) => file.name === name))
      problems.push(problem(`${shown(name)} is not in the signed list of files`))
  let bytes = 0
  const count = (more: number): void => {
    bytes += more
    progress?.(more)
  }
  const there = new Set<string>()
  for (const one of await hashFiles(model, known, serialization, { signal, sumOf, progress: count })) {
    there.add(one.file.name)
    if ('problem' in one) problems.push(problem(`${shown(one.file.name)} ${one.problem}`))
    else if (!areSigned(one.resources, signed.get(one.file.name)!))
      problems.push(problem(`${shown(one.file.name)} differs from the file that was signed`))
  }
  for (const name of names.filter(counts))
    if (!there.has(name)) problems.push(problem(`${shown(name)} is missing, or is outside of the model: it was signed`))
  return { problems, files: known.length, bytes }
}

const isEmpty = async (file: string): Promise<boolean> => {
  const entry = await lstat(file).catch(() => undefined)
  return entry?.isFile() === true && entry.size === 0
}

/** Whether a file has exactly the signed digests. */
function areSigned(found: readonly Resource[], signed: readonly Resource[]): boolean {
  const digests = new Map(signed.map(({ name, digest }) => [name, digest]))
  return found.length === signed.length && found.every(({ name, digest }) => digests.get(name) === digest)
}
