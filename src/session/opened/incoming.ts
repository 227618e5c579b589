/** A file that is fetched for one run into the folder of that run. */
import { createHash } from 'node:crypto'
import { lstat, rm } from 'node:fs/promises'
import path from 'node:path'
import { move, removeTree } from '../../core/system/disk.js'
import { sha256 as sha256OfFile } from '../../lineage/disk.js'
import { CACHE_VARIABLE, workRoot } from '../../storage/local/cacheRoot.js'
import { type InputState, inputStates, refuseChanged } from '../../storage/local/inputStates.js'
import type { Fetch } from '../../storage/remote/types.js'
import type { AwayFile } from './away.js'

/** A content, which several files of a plan can have. */
export interface Incoming {
  /** With its place in the folder of the run. */
  readonly fetch: Fetch
  /** Indexes into `Plan.files`. */
  readonly files: readonly number[]
  /** Bytes that have come. */
  readonly bytes: () => number
  /** Whether it is there, or on its way. */
  readonly isHeld: () => boolean
  /** Its state if it is there. */
  readonly state: () => InputState | undefined
  /** `sha256:…`, if it was asked for and it has been there. */
  readonly sum: () => string | undefined
  /** Begins to fetch it, if nobody has. */
  readonly start: () => void
  /** Resolves when it is there. Rejects with the error of its download. */
  readonly done: () => Promise<void>
  readonly stop: () => void
  /** Removes it, and stops its download. Error: `input-changed`. */
  readonly remove: () => Promise<void>
  /** Takes over what an interrupted run has in its folder. It is checked like the beginning of a download. */
  readonly adopt: (folder: string) => Promise<void>
}

export interface IncomingOptions {
  /** The folder of the run. */
  readonly folder: string
  /** Whether its SHA-256 is wanted. */
  readonly sha256: boolean
  readonly signal?: AbortSignal | undefined
  /** Called when bytes have come. */
  readonly tell: () => void
}

/** The contents of files, each once. */
export function incomingFiles(away: readonly AwayFile[], options: IncomingOptions): Incoming[] {
  const found = new Map<string, AwayFile[]>()
  for (const one of away) found.set(one.content, [...(found.get(one.content) ?? []), one])
  return [...found.values()].map((all) => incoming(all, options))
}

function incoming(all: readonly AwayFile[], { folder, sha256, signal, tell }: IncomingOptions): Incoming {
  const { check, blame } = all[0]!
  const fetch = placedIn(folder, all[0]!)
  const { target, lock } = fetch.content
  const incomplete = `${target}.incomplete`
  let coming: { readonly done: Promise<void>; readonly controller: AbortController } | undefined
  let state: InputState | undefined
  let sum: string | undefined
  let bytes = 0

  async function bring(stop: AbortSignal): Promise<void> {
    const { download } = await import('../../storage/remote/download.js')
    await download([fetch], {
      ...{ signal: stop, sync: false },
      progress(done) {
        bytes = done
        tell()
      },
      blame: (_, error) => blame(error),
    })
    const published = fetch.file.sha256
    if (sha256) sum ??= published === undefined ? await sha256OfFile(target, stop) : `sha256:${published}`
    await check(target, stop)
    state = (await inputStates([target])).inputs[0]!
  }

  return {
    fetch,
    files: all.map(({ file }) => file),
    bytes: () => bytes,
    isHeld: () => coming !== undefined,
    state: () => state,
    sum: () => sum,
    start() {
      if (coming) return
      const controller = new AbortController()
      const stop = () => controller.abort(signal?.reason)
      signal?.addEventListener('abort', stop, { once: true })
      if (signal?.aborted) stop()
      const done = bring(controller.signal).finally(() => signal?.removeEventListener('abort', stop))
      // Who needs it gets the error.
      done.catch(() => {})
      coming = { done, controller }
    },
    done: async () => coming?.done,
    stop: () => coming?.controller.abort(),
    async remove() {
      coming?.controller.abort()
      await coming?.done.catch(() => {})
      if (state) await refuseChanged([state])
      coming = undefined
      state = undefined
      bytes = 0
      for (const file of [target, incomplete]) await rm(file, { force: true })
      await removeTree(lock)
    },
    async adopt(from) {
      if (fetch.identity === undefined) return
      const name = path.basename(target)
      for (const found of [name, `${name}.incomplete`].map((one) => path.join(from, one)))
        if ((await isPlain(found)) && !(await isPlain(incomplete))) await move(found, incomplete)
    },
  }
}

const isPlain = async (file: string): Promise<boolean> => {
  const entry = await lstat(file).catch(() => undefined)
  return entry?.isFile() === true && entry.nlink === 1
}

/** The name says which content it is, for a run that resumes this one. */
function placedIn(folder: string, { fetch, content: name }: AwayFile): Fetch {
  const digest = createHash('sha256').update(fetch.identity ?? name)
  const target = path.join(folder, digest.digest('hex'))
  const cache = { folder: workRoot(), variable: CACHE_VARIABLE }
  const content = { ...fetch.content, ...{ target, place: target, lock: `${target}.lock`, cache } }
  return { ...fetch, content, place: target }
}
