/** A repository's commits and files, asked of the hub through its own library. */
import { fault } from '../../core/diagnostics.js'
import { nearest, quote } from '../../core/suggest.js'
import { leadsDown } from '../leadsDown.js'
import { hubFault, type Subject } from './faults.js'
import { apiFetch, HubError } from './request.js'
import type { HubSettings } from './settings.js'

/** A file of a repository, as the hub publishes it. */
export interface HubFile {
  /** From the repository's root. */
  readonly path: string
  readonly size: number
  /** Of its content, 64 hexadecimal digits: of files in the hub's large storage. */
  readonly sha256?: string
  /** What the cache calls its content: the SHA-256, or the name that git has for it, a SHA-1. */
  readonly blob: string
}

export interface AskOptions {
  /** Attempts, where what is in the cache would do. */
  readonly most?: number
  readonly signal?: AbortSignal | undefined
}

export const isCommit = (text: string | undefined): text is string => text !== undefined && /^[0-9a-f]{40}$/.test(text)

/** Entries of one folder: far above any model's, so that pages without an end do end. */
const MOST_ENTRIES = 100_000

/** Only when something has to be asked: loading it costs more than a small merge. */
const library = () => import('@huggingface/hub')

/** The commit that a branch, tag or commit stands for now. Errors: those of `hubFault`. */
export async function commitOf(settings: HubSettings, subject: Subject, options: AskOptions = {}): Promise<string> {
  const { modelInfo } = await library()
  try {
    const { sha } = await answered(() =>
      modelInfo({
        name: subject.repository,
        ...(subject.revision === undefined ? {} : { revision: subject.revision }),
        additionalFields: ['sha'],
        hubUrl: settings.endpoint,
        fetch: apiFetch(settings, options),
      }),
    )
    if (!isCommit(sha)) throw new HubError('an answer without a commit')
    return sha
  } catch (error) {
    const meant =
      error instanceof HubError && error.code === 'RevisionNotFound'
        ? await meantRevision(settings, subject, options)
        : undefined
    throw hubFault(error, settings, { ...subject, meant })
  }
}

/** A branch or tag that was meant; asked for the hint alone. */
async function meantRevision(
  settings: HubSettings,
  { repository, revision }: Subject,
  options: AskOptions,
): Promise<string | undefined> {
  try {
    const response = await apiFetch(settings, { ...options, most: 1 })(
      `${settings.endpoint}/api/models/${repository}/refs`,
    )
    const refs = (await response.json()) as Record<string, unknown>
    const names = [refs.branches, refs.tags]
      .flatMap((list) => (Array.isArray(list) ? list : []))
      .map((ref) => ref?.name)
    return nearest(
      revision ?? 'main',
      names.filter((name) => typeof name === 'string'),
      1,
    )[0]
  } catch {
    return undefined
  }
}

/** What a folder of a repository holds at a commit, without what lies deeper. Errors: those of `hubFault`, `path-escape`. */
export async function listFolder(
  settings: HubSettings,
  subject: Subject & { readonly commit: string },
  folder: string,
  options: AskOptions = {},
): Promise<HubFile[]> {
  const { listFiles } = await library()
  const found: HubFile[] = []
  let entriesSeen = 0
  try {
    await answered(async () => {
      const entries = listFiles({
        repo: subject.repository,
        revision: subject.commit,
        ...(folder === '' ? {} : { path: folder.split('/').map(encodeURIComponent).join('/') }),
        hubUrl: settings.endpoint,
        fetch: apiFetch(settings, options),
      })
      for await (const entry of entries) {
        if (entry.type === 'file') found.push(checked(entry, folder, subject.reference))
        if (++entriesSeen > MOST_ENTRIES) throw new HubError('a list of files without an end')
      }
    })
  } catch (error) {
    throw hubFault(error, settings, { ...subject, ...(folder === '' ? {} : { entry: folder }) })
  }
  return found
}

/** The library trusts the form of answers, so that what it stumbles over is an answer of another form. */
async function answered<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    if (error instanceof TypeError || error instanceof SyntaxError || error instanceof RangeError)
      throw new HubError('its answer is not one of the hub')
    throw error
  }
}

/** An entry of the hub's list, of which nothing is believed. */
function checked(
  entry: { path?: unknown; size?: unknown; oid?: unknown; lfs?: unknown; xetHash?: unknown },
  folder: string,
  reference: string,
): HubFile {
  const { path, size, oid } = entry
  const lfs = entry.lfs as { oid?: unknown; size?: unknown } | undefined
  if (typeof path !== 'string') throw new HubError('a list of files without names')
  const inside = folder === '' ? path : path.startsWith(`${folder}/`) ? path.slice(folder.length + 1) : ''
  if (!leadsDown(inside))
    throw fault(
      'path-escape',
      `${reference}: the hub lists a file ${quote(path)}, which is not a valid file name`,
      'such a repository is made to do harm',
    )
  // Git's name for it would be that of a pointer.
  if ('xetHash' in entry && entry.xetHash && !lfs)
    throw new HubError(`a list of files without the SHA-256 of ${quote(path)}`)
  const sha256 = lfs?.oid
  const blob = sha256 ?? oid
  const form = sha256 === undefined ? /^[0-9a-f]{40}$/ : /^[0-9a-f]{64}$/
  if (!Number.isSafeInteger(size) || (size as number) < 0 || typeof blob !== 'string' || !form.test(blob))
    throw new HubError(`a list of files without the size or digest of ${quote(path)}`)
  return { path, size: size as number, blob, ...(typeof sha256 === 'string' ? { sha256 } : {}) }
}
