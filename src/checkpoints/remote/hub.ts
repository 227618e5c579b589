/** Opens a model on the hub: from the cache if it is there, otherwise by downloading only its headers. */

import type { ErrorCode } from '../../core/codes.js'
import { type Diagnostic, Fault, fault } from '../../core/diagnostics.js'
import { quote } from '../../core/suggest.js'
import { cachedCommit, noteCommit, snapshotFolder } from '../../storage/hub/cache.js'
import { hubContent } from '../../storage/hub/content.js'
import { notCached, type Subject } from '../../storage/hub/faults.js'
import { commitOf, type HubFile, isCommit } from '../../storage/hub/repository.js'
import { cacheOf, type HubSettings, hubSettings } from '../../storage/hub/settings.js'
import { hubStore } from '../../storage/hub/store.js'
import { leadsDown } from '../../storage/leadsDown.js'
import { cachedNames } from '../../storage/remote/place.js'
import { fetchesOf } from '../../storage/remote/store.js'
import type { Fetch } from '../../storage/remote/types.js'
import { folderContainer, hasWholeWeights } from '../containers/index.js'
import { PART } from '../folder.js'
import { listsModules } from '../modules.js'
import { openCheckpoint } from '../open.js'
import { isWeights } from '../sidecarNames.js'
import type { Checkpoint } from '../types.js'
import { inParts, makeCached, type RemoteModel } from './model.js'

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
  /** The commit to use instead of the revision: from a lock or a lineage. */
  readonly commit?: string | undefined
  /** Files that the cache must have; otherwise the hub is asked. */
  readonly expected?: readonly string[] | undefined
  /** As in `OpenOptions`. */
  readonly adapter?: boolean | undefined
}

/**
 * Opens a model on the hub. Downloads config, tokenizer and index into the cache, but only the headers of weights.
 * Errors: those of `hubSettings`, `hubFault`, `fetchContent` and `openCheckpoint`; `hub-offline`, `bad-revision`,
 * `path-escape`.
 */
export async function openHub(asked: HubReference, signal?: AbortSignal): Promise<RemoteModel> {
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
  const done = (checkpoint: Checkpoint, fetches: readonly Fetch[] = []): RemoteModel => ({
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
  let names: readonly string[]
  try {
    names = (await store.list('')).map(({ name }) => name)
  } catch (error) {
    if (!cached || !(error instanceof Fault)) throw error
    return done(cached)
  }
  const parted = hasWholeWeights(names) ? undefined : folderContainer(names)
  if (parted && !(cached && enough)) throw inParts(parted, reference, `hf download ${repository} --local-dir DIR`)
  if (parted && cached) return done(cached)
  await makeCached(folder, cacheOf(settings))
  const checkpoint = await openCheckpoint(reference, folder, { store, adapter })
  if (asked.commit === undefined) await noteCommit(settings.cache, repository, revision ?? 'main', commit)
  return done(
    checkpoint,
    fetchesOf(store, (file) => hubContent(settings, at, file), identityOf, checkpoint.files),
  )
}

/** The download checks the digest that names a file: SHA-256, or that of Git. */
const identityOf = ({ blob, sha256 }: HubFile): string => `${sha256 === undefined ? 'git' : 'sha256'} ${blob}`

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
      'write its path relative to the root of the repository',
    )
  return { ...asked, subfolder: inside }
}

/** The commit of a revision: from the hub, or from the cache if the hub does not answer. */
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
      `${error.diagnostics[0]!.message}; using commit ${known} of ${quote(revision)} from the cache`,
      'write the commit into the recipe, use a lock, or set HF_HUB_OFFLINE=1 to use the cache without asking the hub',
    )
    return known
  }
}

/** The model in the cache, if all of its weights are there. */
async function openCached(
  reference: string,
  folder: string,
  adapter: boolean | undefined,
): Promise<Checkpoint | undefined> {
  const names = await cachedNames(folder)
  // Otherwise a single shard would look like a whole model.
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

/** Whether the cache has a model's small files too: other libraries download weights and tokenizer separately, and often no card. */
const isComplete = (names: ReadonlySet<string>): boolean =>
  names.has('README.md') &&
  (names.has('adapter_config.json') ||
    names.has('model_index.json') ||
    (names.has('config.json') &&
      !names.has('modules.json') &&
      [...names].some((name) => /^(tokenizer|vocab|spiece|preprocessor_config|merges)/.test(name))))
