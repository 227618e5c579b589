/**
 * An output on the hub. Large files go to the hub's storage one by one, and one commit makes all files visible together. The
 * commit has a parent, so it fails if somebody else has committed meanwhile.
 */
import { createHash } from 'node:crypto'
import path from 'node:path'
import { mapEach } from '../../../core/collections/eachOf.js'
import { type ExitCode, Fault, fault } from '../../../core/diagnostics.js'
import { quote } from '../../../core/suggest.js'
import { sha256Of, withFile } from '../../remote/bodies.js'
import { RequestError } from '../../remote/request.js'
import {
  type Destination,
  existsAlready,
  type Published,
  type Receipt,
  type SmallFile,
  type UploadFile,
  type UploadOptions,
  type UploadPlan,
  uploadLost,
} from '../../remote/upload.js'
import { hubFault, type Subject } from '../faults.js'
import { commitOf, type HubFile, isCommit, listFolder } from '../repository.js'
import type { HubSettings } from '../settings.js'
import { askBatch, isHeld, type LfsPlace, sendObject } from './lfs.js'
import { post } from './requests.js'
import { checkRights } from './rights.js'

export interface HubOutput {
  readonly settings: HubSettings
  readonly reference: string
  /** `org/name` */
  readonly repository: string
  readonly branch: string
  readonly plan: UploadPlan
  /** Called with what was made on the way, for the user. */
  readonly notice?: (message: string) => void
}

/** Files of one question about how they are stored. */
const QUESTION = 200
/** Bytes of a file by which the hub finds out whether it is text. */
const SAMPLE = 512
const PARALLEL = 4

type Where = 'branch' | 'repository' | undefined

export function hubDestination({ settings, reference, repository, branch, plan, notice }: HubOutput): Destination {
  const api = `/api/models/${repository}`
  const subject = (exit: ExitCode): Subject => ({ reference, repository, revision: branch, exit, writes: true })
  /** The commit that the new one follows, or what has to be made first. */
  let parent: string | undefined
  let missing: Where
  const placeOf = (signal?: AbortSignal): LfsPlace => ({ settings, repository, branch, signal })
  const explained = async <T>(work: () => Promise<T>): Promise<T> => {
    try {
      return await work()
    } catch (error) {
      throw hubFault(error, settings, subject(1))
    }
  }

  /** The commit of the branch; undefined if there is no such branch or repository. */
  async function headOf(exit: ExitCode, signal: AbortSignal | undefined): Promise<string | undefined> {
    try {
      missing = undefined
      return await commitOf(settings, { ...subject(exit), writes: false }, { signal })
    } catch (error) {
      const [one] = error instanceof Fault ? error.diagnostics : []
      if (one?.code === 'hub-revision') missing = 'branch'
      else if (one?.code === 'hub-not-found') missing = 'repository'
      else throw error
      return undefined
    }
  }

  /** The files of a commit in the folders that matter, by path. */
  async function filesAt(
    commit: string,
    exit: ExitCode,
    signal: AbortSignal | undefined,
  ): Promise<Map<string, HubFile>> {
    const names = [...plan.files, ...plan.small]
    const folders = new Set(['', ...names.map((name) => path.posix.dirname(name).replace(/^\.$/, ''))])
    const about = { ...subject(exit), commit, writes: false }
    const lists = await mapEach([...folders], PARALLEL, (folder) =>
      listFolder(settings, about, folder, { signal }).catch((error: unknown) => {
        if (error instanceof Fault && error.diagnostics[0]?.code === 'hub-entry') return []
        throw error
      }),
    )
    return new Map(lists.flat().map((file) => [file.path, file]))
  }

  const own = new Set([...plan.files, ...plan.small])

  async function begin(_: unknown, signal?: AbortSignal): Promise<void> {
    if (settings.offline)
      throw fault('hub-offline', `${reference}: HF_HUB_OFFLINE forbids uploading`, 'unset HF_HUB_OFFLINE')
    if (settings.token === undefined)
      throw fault('hub-login', `${reference}: uploading needs a token`, 'set HF_TOKEN, or run hf auth login')
    parent = await headOf(2, signal)
    await refuseExisting(2, signal)
    try {
      await checkRights(settings, repository, missing !== 'repository', signal)
    } catch (error) {
      throw hubFault(error, settings, subject(2))
    }
  }

  /** Error: `output-exists` if the parent has a model that may not be replaced. */
  async function refuseExisting(exit: ExitCode, signal: AbortSignal | undefined): Promise<void> {
    if (parent === undefined || plan.force) return
    const there = [...(await filesAt(parent, exit, signal)).keys()]
    const others = there.filter((name) => own.has(name) || plan.belongs(name))
    if (others.length > 0) throw existsAlready(reference, others, exit)
  }

  /** Makes the repository or the branch if it is missing. A new branch begins with the files of the main one. */
  async function make(signal: AbortSignal | undefined): Promise<void> {
    if (missing === undefined) return
    let isOwn = false
    if (missing === 'repository') {
      const [organization, name] = repository.split('/')
      const body = JSON.stringify({ type: 'model', name, organization, private: true })
      isOwn = await made(post(settings, { url: '/api/repos/create', body, signal }))
      if (isOwn) notice?.(`made the private repository ${repository}`)
    }
    parent = await headOf(1, signal)
    if (parent === undefined) {
      const url = `${api}/branch/${encodeURIComponent(branch)}`
      isOwn = await made(post(settings, { url, body: '{}', signal }))
      if (isOwn) notice?.(`made the branch ${quote(branch)} of ${repository}`)
      parent = await headOf(1, signal)
    }
    if (parent === undefined) throw new RequestError('the new branch does not appear')
    if (!isOwn) await refuseExisting(1, signal)
  }

  /** Whether this run made it: another one can be faster. */
  const made = (request: Promise<unknown>): Promise<boolean> =>
    request.then(
      () => true,
      (error: unknown) => {
        if (error instanceof RequestError && error.status === 409) return false
        throw error
      },
    )

  async function upload(file: UploadFile, options: UploadOptions = {}): Promise<Receipt> {
    const { signal, progress } = options
    const { name, size, path: place } = file
    return explained(async () => {
      await make(signal)
      const receipt: Receipt = { name, size, sha256: await sha256Of(place, size, signal) }
      await withFile(place, (handle) =>
        sendObject(placeOf(signal), { sha256: receipt.sha256!, size }, handle, progress),
      )
      await options.note?.(receipt)
      return receipt
    })
  }

  const holds = async ({ sha256, size }: Receipt, signal?: AbortSignal): Promise<boolean> =>
    sha256 !== undefined &&
    explained(async () => {
      await make(signal)
      return isHeld(placeOf(signal), { sha256, size })
    })

  async function publish(
    receipts: readonly Receipt[],
    small: readonly SmallFile[],
    signal?: AbortSignal,
  ): Promise<Published> {
    return explained(async () => {
      await make(signal)
      const head = await headOf(1, signal)
      // The answer to an earlier attempt, or the end of an earlier run, may have been lost.
      if (head !== undefined && (await isThere(head, receipts, small, signal))) return { revision: head }
      const objects = receipts.map(({ sha256, size }) => ({ sha256: sha256!, size }))
      const actions = await askBatch(placeOf(signal), objects)
      const lost = receipts.find(({ sha256 }) => actions.get(sha256!)?.upload)
      if (lost) throw uploadLost(reference, lost.name)
      const lines = await commitLines(receipts, small, signal)
      const body = lines.map((line) => JSON.stringify(line)).join('\n')
      const url = `${api}/commit/${encodeURIComponent(branch)}`
      try {
        const answer = await post(settings, { url, body, type: 'application/x-ndjson', signal })
        const oid = (answer as { commitOid?: unknown } | undefined)?.commitOid
        const commit = typeof oid === 'string' && isCommit(oid) ? oid : await headOf(1, signal)
        if (commit !== undefined && (await isThere(commit, receipts, small, signal))) return { revision: commit }
        throw new RequestError('the commit does not have the uploaded files')
      } catch (error) {
        const moved = error instanceof RequestError && [409, 412].includes(error.status ?? 0)
        if (!moved) throw error
        const now = await headOf(1, signal)
        if (now !== undefined && (await isThere(now, receipts, small, signal))) return { revision: now }
        throw fault(
          'hub-moved',
          `${reference}: somebody else has committed to ${quote(branch)} since this run began`,
          'nothing was changed, and the uploads are kept: look at that commit, then run again with --resume',
          1,
        )
      }
    })
  }

  async function commitLines(
    receipts: readonly Receipt[],
    small: readonly SmallFile[],
    signal: AbortSignal | undefined,
  ): Promise<object[]> {
    const large = await largeOnes(small, signal)
    const lines: object[] = [
      { key: 'header', value: { summary: 'Merge with terge', description: '', parentCommit: parent } },
    ]
    const lfs = (name: string, oid: string, size: number) => ({
      key: 'lfsFile',
      value: { path: name, algo: 'sha256', oid, size },
    })
    for (const { name, sha256, size } of receipts) lines.push(lfs(name, sha256!, size))
    for (const { name, content } of small) {
      if (large.has(name)) {
        const object = { sha256: hashOf(content), size: content.length }
        await sendObject(placeOf(signal), object, content)
        lines.push(lfs(name, object.sha256, object.size))
      } else {
        const text = Buffer.from(content).toString('base64')
        lines.push({ key: 'file', value: { path: name, content: text, encoding: 'base64' } })
      }
    }
    const before = parent === undefined ? [] : [...(await filesAt(parent, 1, signal)).keys()]
    for (const name of before)
      if (!own.has(name) && plan.belongs(name)) lines.push({ key: 'deletedFile', value: { path: name } })
    return lines
  }

  /** The small files that the hub keeps in its storage of large files. */
  async function largeOnes(small: readonly SmallFile[], signal: AbortSignal | undefined): Promise<Set<string>> {
    const large = new Set<string>()
    for (let at = 0; at < small.length; at += QUESTION) {
      const files = small.slice(at, at + QUESTION).map(({ name, content }) => ({
        path: name,
        size: content.length,
        sample: Buffer.from(content.subarray(0, SAMPLE)).toString('base64'),
      }))
      const url = `${api}/preupload/${encodeURIComponent(branch)}`
      const answer = await post(settings, { url, body: JSON.stringify({ files }), signal })
      const listed = (answer as { files?: unknown } | undefined)?.files
      if (!Array.isArray(listed)) throw new RequestError('the answer does not say how files are stored')
      for (const one of listed as readonly { path?: unknown; uploadMode?: unknown }[])
        if (one?.uploadMode === 'lfs' && typeof one.path === 'string') large.add(one.path)
    }
    // The storage does not take empty files.
    for (const { name, content } of small) if (content.length === 0) large.delete(name)
    return large
  }

  /** Whether a commit has exactly this output. */
  async function isThere(
    commit: string,
    receipts: readonly Receipt[],
    small: readonly SmallFile[],
    signal: AbortSignal | undefined,
  ): Promise<boolean> {
    const files = await filesAt(commit, 1, signal)
    const stale = [...files.keys()].some((name) => !own.has(name) && plan.belongs(name))
    const wanted = [
      ...receipts.map(({ name, sha256 }) => [name, sha256] as const),
      ...small.map(
        ({ name, content }) => [name, files.get(name)?.sha256 ? hashOf(content) : gitHash(content)] as const,
      ),
    ]
    return !stale && wanted.every(([name, digest]) => files.get(name)?.blob === digest)
  }

  // Objects without a commit are not visible, and the hub removes them. It has no request for that.
  return { reference, begin, upload, holds, publish, abort: async () => {} }
}

const hashOf = (content: Uint8Array): string => createHash('sha256').update(content).digest('hex')
const gitHash = (content: Uint8Array): string =>
  createHash('sha1').update(`blob ${content.length}\0`).update(content).digest('hex')
