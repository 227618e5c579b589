/** Asks the hub for the commits and files of a repository, through the hub's own library. */
import { fault } from '../../core/diagnostics.js'
import { nearest, quote } from '../../core/suggest.js'
import { leadsDown } from '../leadsDown.js'
import { RequestError } from '../remote/request.js'
import { hubFault, type Subject } from './faults.js'
import { apiFetch } from './request.js'
import type { HubSettings } from './settings.js'

/** A file of a repository, as the hub publishes it. */
export interface HubFile {
  /** Relative to the root of the repository. */
  readonly path: string
  readonly size: number
  /** Digest of the content, 64 hexadecimal digits. Only for files in the hub's large-file storage. */
  readonly sha256?: string
  /** Name of the content in the cache: the SHA-256, or git's SHA-1. */
  readonly blob: string
}

export interface AskOptions {
  /** Maximum number of attempts. Fewer are enough if the cache can be used instead. */
  readonly most?: number
  readonly signal?: AbortSignal | undefined
}

export const isCommit = (text: string | undefined): text is string => text !== undefined && /^[0-9a-f]{40}$/.test(text)

/** Maximum entries of one folder. Far above any model's; stops endless lists. */
const MOST_ENTRIES = 100_000

/** Loaded only when needed, because loading takes longer than a small merge. */
const library = () => import('@huggingface/hub')

/** The current commit of a branch, tag or commit. Errors: those of `hubFault`. */
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
    if (!isCommit(sha)) throw new RequestError('the answer has no commit')
    return sha
  } catch (error) {
    const meant =
      error instanceof RequestError && error.code === 'RevisionNotFound'
        ? await meantRevision(settings, subject, options)
        : undefined
    throw hubFault(error, settings, { ...subject, meant })
  }
}

/** The branch or tag that the user probably meant, for the hint. */
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

/** Lists the files directly in a folder of a repository at a commit. Errors: those of `hubFault`, `path-escape`. */
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
        if (++entriesSeen > MOST_ENTRIES) throw new RequestError('the list of files does not end')
      }
    })
  } catch (error) {
    throw hubFault(error, settings, { ...subject, ...(folder === '' ? {} : { entry: folder }) })
  }
  return found
}

/** The library does not check answers, so type, syntax and range errors mean that an answer is invalid. */
async function answered<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    if (error instanceof TypeError || error instanceof SyntaxError || error instanceof RangeError)
      throw new RequestError('the answer is not valid')
    throw error
  }
}

/** Checks an entry of the hub's list. */
function checked(
  entry: { path?: unknown; size?: unknown; oid?: unknown; lfs?: unknown; xetHash?: unknown },
  folder: string,
  reference: string,
): HubFile {
  const { path, size, oid } = entry
  const lfs = entry.lfs as { oid?: unknown; size?: unknown } | undefined
  if (typeof path !== 'string') throw new RequestError('the list of files has no names')
  const inside = folder === '' ? path : path.startsWith(`${folder}/`) ? path.slice(folder.length + 1) : ''
  if (!leadsDown(inside))
    throw fault(
      'path-escape',
      `${reference}: the hub lists a file ${quote(path)}, which is not a valid file name`,
      'the repository is malicious: do not use it',
    )
  // Without it, `oid` would be the digest of a pointer.
  if ('xetHash' in entry && entry.xetHash && !lfs)
    throw new RequestError(`the list of files has no SHA-256 for ${quote(path)}`)
  const sha256 = lfs?.oid
  const blob = sha256 ?? oid
  const form = sha256 === undefined ? /^[0-9a-f]{40}$/ : /^[0-9a-f]{64}$/
  if (!Number.isSafeInteger(size) || (size as number) < 0 || typeof blob !== 'string' || !form.test(blob))
    throw new RequestError(`the list of files has no size or digest for ${quote(path)}`)
  return { path, size: size as number, blob, ...(typeof sha256 === 'string' ? { sha256 } : {}) }
}
