/** Opens a model of the hub: from the cache where it is there, else from its headers, which come by ranges. */

import { mkdir } from 'node:fs/promises'
import type { ErrorCode } from '../core/codes.js'
import { type Diagnostic, Fault, fault } from '../core/diagnostics.js'
import { quote } from '../core/suggest.js'
import { cachedCommit, cachedNames, noteCommit, snapshotFolder } from '../storage/hub/cache.js'
import { notCached, type Subject } from '../storage/hub/faults.js'
import { commitOf, isCommit } from '../storage/hub/repository.js'
import { type HubSettings, hubSettings } from '../storage/hub/settings.js'
import { hubStore } from '../storage/hub/store.js'
import type { Fetch } from '../storage/hub/types.js'
import { leadsDown } from '../storage/leadsDown.js'
import { PART } from './folder.js'
import { listsModules } from './modules.js'
import { openCheckpoint } from './open.js'
import { isWeights } from './sidecarNames.js'
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

  const store = hubStore({ settings, subject: at, subfolder, signal, ...(cached ? { most: 1 } : {}) })
  try {
    await store.list('')
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
  const checkpoint = await openCheckpoint(reference, folder, { store, adapter })
  if (asked.commit === undefined) await noteCommit(settings.cache, repository, revision ?? 'main', commit)
  const fetches = checkpoint.files.flatMap(({ name, path: place, headerBytes, headerDigest }): Fetch[] => {
    const file = store.lacking.get(name)
    return file ? [{ settings, subject: at, file, place, headerBytes, headerDigest }] : []
  })
  return done(checkpoint, fetches)
}

function checkReference(asked: HubReference): HubReference {
  const { reference, repository, revision, subfolder } = asked
  if (!leadsDown(repository) || repository.split('/').length !== 2)
    throw fault(
      'hub-not-found',
      `${reference}: ${quote(repository)} is not a valid repository name`,
      'write hf:org/name or hf:org/name@revision',
    )
  if (revision !== undefined && (!leadsDown(revision) || /[\s\u0000-\u001f\u007f]/.test(revision)))
    throw fault(
      'hub-revision',
      `${reference}: ${quote(revision)} is not a valid revision name`,
      'name a branch, a tag or a commit',
    )
  const inside = subfolder?.replace(/^\.\/+|\/+$/g, '')
  if (inside !== undefined && inside !== '' && !leadsDown(inside))
    throw fault(
      'path-escape',
      `${reference}: ${quote(inside)} is not a folder in the repository`,
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
