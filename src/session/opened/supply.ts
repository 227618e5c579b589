/** Fetches files for one run into a folder of its own, and removes them when they have been used. */
import { formatSize } from '../../core/sizes.js'
import { removeTree } from '../../core/system/disk.js'
import type { Listener } from '../../execute/events.js'
import { interrupted, interruptedDownload } from '../../execute/interrupted.js'
import type { Supply } from '../../execute/types.js'
import { BESIDE_FILE } from '../../plan/flow/pieces.js'
import { workRoot } from '../../storage/local/cacheRoot.js'
import { leaveScratch, newScratch, removeScratch, sweepScratch, takeStale } from '../../storage/local/scratch.js'
import type { AwayFile } from './away.js'
import { type Incoming, incomingFiles } from './incoming.js'

export interface SupplyOptions {
  /** Bytes that the disk may take. */
  readonly disk: number
  /** Use what an interrupted run has fetched, and keep what this one has if it is interrupted. */
  readonly resume: boolean
  /** Whether the SHA-256 of each file is wanted. */
  readonly sha256: boolean
  readonly listen: Listener
  readonly signal?: AbortSignal | undefined
}

/** A supply, and what the session needs of it. */
export interface OpenSupply extends Supply {
  /** By index into `Plan.files`: where the file is while it is there. */
  readonly placeOf: (file: number) => string | undefined
  /** By index into `Plan.files`: `sha256:…` of a file that has been there. */
  readonly sumOf: (file: number) => string | undefined
  /** Ends it. `keep`: a resumed run will use what is there. */
  readonly close: (keep: boolean) => Promise<void>
}

const KIND = 'inputs-'
/** Files that come at the same time before they are needed. */
const PARALLEL = 4

/** Removes what killed runs have left. */
export const sweepSupplies = (): Promise<void> => sweepScratch(workRoot(), KIND)

export async function openSupply(away: readonly AwayFile[], options: SupplyOptions): Promise<OpenSupply> {
  const { disk, resume, sha256, listen, signal } = options
  const stale = await takeStale(workRoot(), KIND)
  if (!resume) await removeAll(stale.splice(0))
  const folder = await newScratch(workRoot(), KIND)
  const progress = fetchProgress(listen)
  const tell = () => progress.tell(sum(contents, ({ bytes }) => bytes()))
  const contents: readonly Incoming[] = incomingFiles(away, { folder, sha256, signal, tell })
  const byFile = new Map(contents.flatMap((content) => content.files.map((file) => [file, content] as const)))
  const contentsIn = (files: Iterable<number>): Incoming[] => [
    ...new Set([...files].flatMap((file) => byFile.get(file) ?? [])),
  ]
  const held = () => contents.filter(({ isHeld }) => isHeld())
  const there = () => contents.filter(({ state }) => state() !== undefined)

  const early = comingEarly(held)

  async function stopAll(): Promise<void> {
    early.want([])
    for (const { stop } of held()) stop()
    await Promise.allSettled(held().map(({ done }) => done()))
  }

  return {
    sumOf: (file) => byFile.get(file)?.sum(),
    placeOf: (file) => byFile.get(file)?.fetch.place,
    brings: (file) => byFile.has(file),
    identityOf: (file) => byFile.get(file)?.fetch.identity,
    there: () => new Set(there().flatMap(({ files }) => files)),
    held: () => held().flatMap(({ files }) => files),
    states: () => contents.flatMap(({ state }) => state() ?? []),
    expect: (files) =>
      progress.expect(
        sum(there(), ({ bytes }) => bytes()) + sum([...files], (file) => (first(file) ? sizeOf(byFile.get(file)!) : 0)),
      ),
    async need(files) {
      const wanted = contentsIn(files)
      if (stale.length > 0) {
        for (const from of stale) for (const { adopt } of wanted) await adopt(from)
        await removeAll(stale.splice(0))
      }
      for (const { start } of wanted) start()
      try {
        await Promise.all(wanted.map(({ done }) => done()))
        early.start()
      } catch (error) {
        await stopAll()
        throw signal?.aborted ? (resume ? interruptedDownload() : interrupted()) : error
      }
    },
    ahead(files) {
      early.want(contentsIn(files))
      early.start()
    },
    sizeOf: (file) => (first(file) ? sizeOf(byFile.get(file)!) + BESIDE_FILE : 0),
    disk,
    async drop(files) {
      for (const { bytes, state, remove } of contentsIn(files)) {
        if (state()) progress.past(bytes())
        await remove()
      }
    },
    async close(keep) {
      await stopAll()
      await removeAll(stale)
      await (keep ? leaveScratch(folder) : removeScratch(folder))
    },
  }

  /** Whether a file is the first one with its content. */
  function first(file: number): boolean {
    return byFile.get(file)?.files[0] === file
  }
}

/** What comes before somebody waits for it: a few contents at the same time, in their order. */
function comingEarly(held: () => readonly Incoming[]) {
  let wanted: readonly Incoming[] = []
  const start = (): void => {
    const coming = held().filter(({ state }) => state() === undefined).length
    for (const content of wanted.filter(({ isHeld }) => !isHeld()).slice(0, Math.max(0, PARALLEL - coming))) {
      content.start()
      void content.done().then(start, () => {})
    }
  }
  return {
    start,
    want(contents: readonly Incoming[]): void {
      wanted = contents
    },
  }
}

/** The progress of all downloads of a run. */
function fetchProgress(listen: Listener) {
  let [past, total, shown] = [0, 0, 0]
  return {
    /** Bytes that have come and were removed. */
    past(bytes: number): void {
      past += bytes
    },
    /** Bytes that are there, and that are still to come. */
    expect(bytes: number): void {
      total = past + bytes
    },
    /** Bytes that are there now. */
    tell(bytes: number): void {
      const done = Math.min(total, past + bytes)
      shown = Math.max(shown, total > 0 ? done / total : 1)
      const text = `downloaded ${formatSize(done)} of ${formatSize(total)}`
      listen({ kind: 'step', step: 'fetch', text, fraction: shown, bytes: { done, total } })
    },
  }
}

const sizeOf = ({ fetch }: Incoming): number => fetch.file.size

const sum = <T>(all: readonly T[], of: (one: T) => number): number => all.reduce((total, one) => total + of(one), 0)

async function removeAll(folders: readonly string[]): Promise<void> {
  for (const folder of folders) await removeTree(folder).catch(() => {})
}
