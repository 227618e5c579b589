/** Opens a model of the hub: from the cache where it is there, else from its headers, which come by ranges. */

import { mkdir } from 'node:fs/promises'
import path from 'node:path'
import type { ErrorCode } from '../core/codes.js'
import { type Diagnostic, Fault, fault } from '../core/diagnostics.js'
import { eachOf, mapEach } from '../core/eachOf.js'
import { formatSize } from '../core/sizes.js'
import { quote } from '../core/suggest.js'
import { plural } from '../core/words.js'
import {
  cachedCommit,
  cachedNames,
  isCached,
  noteCommit,
  placeInSnapshot,
  snapshotFolder,
} from '../storage/hub/cache.js'
import { notCached, type Subject } from '../storage/hub/faults.js'
import { commitOf, type HubFile, isCommit, listFolder } from '../storage/hub/repository.js'
import { refuseNoRoom } from '../storage/hub/room.js'
import { type HubSettings, hubSettings } from '../storage/hub/settings.js'
import { type RemoteSource, remoteSource } from '../storage/hub/source.js'
import { fetchContent } from '../storage/hub/transfer.js'
import type { Fetch } from '../storage/hub/types.js'
import { leadsDown } from '../storage/leadsDown.js'
import { boundsOf } from '../storage/local/regular.js'
import { PART } from './folder.js'
import { listsModules, modulesOf } from './modules.js'
import { openCheckpoint, type RemoteWeights } from './open.js'
import { isCode, isSmallFile, isWeights } from './sidecarNames.js'
import { hasOwnClasses, MAX_SIDECAR_BYTES } from './sidecars.js'
import type { Checkpoint } from './types.js'

/** A model on the hub, as a recipe names it. */
export interface HubReference {
  /** As written, for messages and lineage. */
  readonly reference: string
  /** `org/name` */
  readonly repository: string
  /** A branch, tag or commit; `main` where absent. */
  readonly revision?: string | undefined
  /** A folder in the repository. */
  readonly subfolder?: string | undefined
  /** The commit to take whatever the revision stands for now: a lock's, or a lineage's. */
  readonly commit?: string | undefined
  /** Files that have to be in the cache for it to do. */
  readonly expected?: readonly string[] | undefined
  /** As in `OpenOptions`. */
  readonly adapter?: boolean | undefined
}

export interface HubModel {
  /** Its files' paths are those in the cache, also of what is not there yet. */
  readonly checkpoint: Checkpoint
  readonly fetches: readonly Fetch[]
  readonly warnings: readonly Diagnostic[]
}

/** Small files and headers of a model that are fetched at once. */
const PARALLEL = 8
/** Small files of a folder, and their bytes together: above what any model has. */
const MOST_SMALL = 200
const MOST_SMALL_BYTES = 256 * 2 ** 20

/**
 * Opens a model of the hub. Config, tokenizer and index come into the cache, of weights only the headers are read.
 * Faults: those of `hubSettings`, `hubFault`, `fetchContent` and `openCheckpoint`; `hub-offline`, `bad-revision`,
 * `path-escape`.
 */
export async function openHub(asked: HubReference, signal?: AbortSignal): Promise<HubModel> {
  const settings = hubSettings()
  const { reference, repository, revision, subfolder = '', adapter } = checkReference(asked)
  const subject: Subject = { reference, repository, revision }
  const warnings: Diagnostic[] = []
  const warn = (code: ErrorCode, message: string, hint: string) =>
    warnings.push({ severity: 'warning', code, message, hint })
  const commit = asked.commit ?? (await resolve(settings, subject, warn, signal))
  const at = { ...subject, commit }
  const folder = snapshotFolder(settings.cache, repository, commit, subfolder)

  const cached = await openCached(reference, folder, adapter)
  const there = new Set(await cachedNames(folder))
  const enough = (asked.expected ?? []).every((name) => there.has(name))
  const done = (checkpoint: Checkpoint, fetches: readonly Fetch[] = []): HubModel => ({
    checkpoint: { ...checkpoint, revision: commit },
    fetches,
    warnings: [...warnings, ...(checkpoint.warnings ?? [])],
  })
  if (cached && enough && !settings.offline && isComplete(there)) {
    if (asked.commit === undefined) await noteCommit(settings.cache, repository, revision ?? 'main', commit)
    return done(cached)
  }
  if (settings.offline) {
    if (cached) return done(cached)
    throw notCached(subject, settings.cache)
  }

  const list = (within: string) => listFolder(settings, at, within, { signal, ...(cached ? { most: 1 } : {}) })
  let files: HubFile[]
  try {
    files = await list(subfolder)
  } catch (error) {
    if (!cached || !(error instanceof Fault)) throw error
    return done(cached)
  }
  await mkdir(folder, { recursive: true }).catch((error: NodeJS.ErrnoException) => {
    throw fault(
      'write-failed',
      `the cache ${settings.cache} cannot be written: ${error.code}`,
      'set HF_HOME to a folder that can be written',
    )
  })
  const bring = async (files: readonly HubFile[]): Promise<void> => {
    refuseMany(reference, files)
    const place = (file: HubFile) => snapshotFolder(settings.cache, repository, commit, file.path)
    const there = await mapEach(files, PARALLEL, (file) => isCached(place(file), file.size))
    const missing = files.filter((_, index) => !there[index])
    await refuseNoRoom(
      settings,
      folder,
      missing.reduce((sum, { size }) => sum + size, 0),
      2,
    )
    await eachOf(missing, PARALLEL, async (file) => {
      await fetchContent({ settings, subject: at, file, signal })
      await placeInSnapshot(settings.cache, repository, commit, file)
    })
  }
  /** Code only where the model is of classes that lie in it, as it is only copied then. */
  const bringSmall = async (files: readonly HubFile[]): Promise<void> => {
    const small = files.filter(
      ({ path: name, size }) => isSmallFile(path.posix.basename(name)) && size <= MAX_SIDECAR_BYTES,
    )
    const [code, others] = [true, false].map((wanted) =>
      small.filter(({ path: name }) => isCode(path.posix.basename(name)) === wanted),
    )
    await bring(others!)
    if (code!.length === 0) return
    const inner = path.dirname(snapshotFolder(settings.cache, repository, commit, code![0]!.path))
    const names = await cachedNames(inner)
    if (names.some(listsModules) || (await hasOwnClasses(inner, names, await boundsOf(inner)))) await bring(code!)
  }
  await bringSmall(files)
  const modules = await modulesOf(folder, await cachedNames(folder), reference, await boundsOf(folder))
  const inside = (modules?.names ?? []).filter((module) => module !== '')
  await eachOf(inside, PARALLEL, async (module) => {
    const found = await list(path.posix.join(subfolder, module)).catch(noFolder)
    files.push(...found)
    await bringSmall(found)
  })
  if (asked.commit === undefined) await noteCommit(settings.cache, repository, revision ?? 'main', commit)
  const remote = await remoteWeights(settings, at, folder, subfolder, files, list, signal)
  const checkpoint = await openCheckpoint(reference, folder, { remote, adapter })
  const fetches = checkpoint.files.flatMap(({ name, path: place, headerBytes, headerDigest }): Fetch[] => {
    const file = remote.opened.get(name)
    return file ? [{ settings, subject: at, file, place, headerBytes, headerDigest }] : []
  })
  return done(checkpoint, fetches)
}

/** Fault `too-large` where a folder has more small files than any model. */
function refuseMany(reference: string, files: readonly HubFile[]): void {
  const bytes = files.reduce((sum, { size }) => sum + size, 0)
  if (files.length <= MOST_SMALL && bytes <= MOST_SMALL_BYTES) return
  throw fault(
    'too-large',
    `${reference}: ${plural(files.length, 'file')} of configuration, tokenizer and code, ${formatSize(bytes)} together, are more than a model has`,
    `at most ${MOST_SMALL} files and ${formatSize(MOST_SMALL_BYTES)} are fetched; name the folder of the model with subfolder, or download it yourself`,
  )
}

/** A module that needs no files has no folder. */
function noFolder(error: unknown): HubFile[] {
  if (error instanceof Fault && error.diagnostics.every(({ code }) => code === 'hub-entry')) return []
  throw error
}

function checkReference(asked: HubReference): HubReference {
  const { reference, repository, revision, subfolder } = asked
  if (!leadsDown(repository) || repository.split('/').length !== 2)
    throw fault(
      'hub-not-found',
      `${reference}: ${quote(repository)} is no name of a repository`,
      'write hf:org/name or hf:org/name@revision',
    )
  if (revision !== undefined && (!leadsDown(revision) || /[\s\u0000-\u001f\u007f]/.test(revision)))
    throw fault(
      'hub-revision',
      `${reference}: ${quote(revision)} is no name of a revision`,
      'name a branch, a tag or a commit',
    )
  const inside = subfolder?.replace(/^\.\/+|\/+$/g, '')
  if (inside !== undefined && inside !== '' && !leadsDown(inside))
    throw fault(
      'path-escape',
      `${reference}: ${quote(inside)} is no folder inside the repository`,
      'write its path from the repository’s root',
    )
  return { ...asked, subfolder: inside }
}

/** The commit of a revision: the hub's word, or, where it can't be had, the cache's. */
async function resolve(
  settings: HubSettings,
  subject: Subject,
  warn: (code: ErrorCode, message: string, hint: string) => void,
  signal: AbortSignal | undefined,
): Promise<string> {
  const { repository, revision = 'main' } = subject
  if (isCommit(revision)) return revision
  const known = await cachedCommit(settings.cache, repository, revision)
  if (settings.offline) {
    if (known !== undefined) return known
    throw notCached(subject, settings.cache)
  }
  try {
    return await commitOf(settings, subject, { signal, ...(known === undefined ? {} : { most: 1 }) })
  } catch (error) {
    if (known === undefined || !(error instanceof Fault)) throw error
    warn(
      'hub-not-asked',
      `${error.diagnostics[0]!.message}; taken from the cache: the commit that ${quote(revision)} was, ${known}`,
      'write the commit into the recipe, use a lock, or set HF_HUB_OFFLINE=1 to take what the cache has without asking',
    )
    return known
  }
}

/** The model in the cache, where all of its weights are there. */
async function openCached(
  reference: string,
  folder: string,
  adapter: boolean | undefined,
): Promise<Checkpoint | undefined> {
  const names = await cachedNames(folder)
  // Else a lone shard would pass for the whole.
  const indexed = names.some((name) => name.endsWith('.index.json'))
  if (!indexed && names.some((name) => PART.test(name))) return undefined
  if (!names.some((name) => isWeights(name) || listsModules(name))) return undefined
  try {
    return await openCheckpoint(reference, folder, { adapter })
  } catch (error) {
    const missing = [
      'missing-model',
      'missing-shard',
      'missing-module',
      'no-weights',
      'outside-link',
      'ambiguous-checkpoint',
    ]
    if (error instanceof Fault && error.diagnostics.every(({ code }) => missing.includes(code))) return undefined
    throw error
  }
}

/** Whether a model came with what belongs to it: other libraries fetch weights and tokenizer on their own. */
const isComplete = (names: ReadonlySet<string>): boolean =>
  names.has('adapter_config.json') ||
  names.has('model_index.json') ||
  (names.has('config.json') &&
    !names.has('modules.json') &&
    [...names].some((name) => /^(tokenizer|vocab|spiece|preprocessor_config|merges)/.test(name)))

/** The weights of a folder that the cache lacks; `opened` tells which of them were asked for. */
async function remoteWeights(
  settings: HubSettings,
  subject: Subject & { readonly commit: string },
  folder: string,
  subfolder: string,
  files: readonly HubFile[],
  list: (within: string) => Promise<HubFile[]>,
  signal: AbortSignal | undefined,
): Promise<RemoteWeights & { readonly opened: ReadonlyMap<string, HubFile> }> {
  const start = subfolder === '' ? 0 : subfolder.length + 1
  const known = new Map<string, HubFile>()
  const note = (list: readonly HubFile[]): void => {
    for (const file of list) if (isWeights(file.path)) known.set(file.path.slice(start), file)
  }
  note(files)
  const listed = new Map<string, Promise<void>>()
  const opened = new Map<string, HubFile>()
  const sources = new Map<string, RemoteSource>()

  async function source(name: string): Promise<RemoteSource | undefined> {
    const deeper = path.posix.dirname(name)
    if (deeper !== '.' && !known.has(name)) {
      const within = path.posix.join(subfolder, deeper)
      if (!listed.has(deeper)) listed.set(deeper, list(within).then(note))
      await listed.get(deeper)
    }
    const file = known.get(name)
    if (!file || (await isCached(path.join(folder, ...name.split('/')), file.size))) return undefined
    opened.set(name, file)
    const made = sources.get(name) ?? remoteSource(settings, subject, file, `${subject.reference}/${name}`, signal)
    sources.set(name, made)
    return made
  }

  return {
    names: [...known.keys()].filter((name) => !name.includes('/')),
    async within(module) {
      return [...known.keys()].flatMap((name) => (name.startsWith(`${module}/`) ? [name.slice(module.length + 1)] : []))
    },
    opened,
    announce(names) {
      // What fails here fails again where the file is opened.
      eachOf(names, PARALLEL, async (name) => (await source(name))?.begin()).catch(() => {})
    },
    open: source,
  }
}
