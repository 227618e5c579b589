/**
 * The journal of unfinished work, one record per line, so that `--resume` works after a kill. Records are claims: `units/claims.ts`
 * checks them.
 */
import { closeSync, constants, fstatSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { writeFault } from '../core/system/attempt.js'
import { moveSync, NOFOLLOW } from '../core/system/disk.js'
import { parseTiles, type TileRecord, tileLine } from './tiles/records.js'
import { parseRecord, recordLine, type UnitRecord } from './units/records.js'
import { digestsLine, parseDigests, type StoredDigest, type StoredDigests } from './units/storedDigests.js'

/** The journals of a run's outputs. */
export interface Journals {
  /** Records of earlier runs. */
  readonly found: readonly UnitRecord[]
  /** Records of earlier runs of tensors that were under way. */
  readonly tiles: readonly TileRecord[]
  /** Digests of earlier runs in files that were fetched. */
  readonly stored: StoredDigests
  /** Appends a record to an output's journal. Records that outputs share go to the output that is published last. */
  add(output: number | undefined, record: UnitRecord): void
  /** Appends a record of tiles to an output's journal. */
  addTiles(output: number, record: TileRecord): void
  /** Appends a digest in a fetched file whose content has this identity. */
  note(identity: string, digest: StoredDigest): void
  /** Writes what has been added, before another process works on the outputs or they get their names. */
  flush(): void
}

/** The first line: the format of the others. */
const HEAD = '{"journal":5}'

const { O_WRONLY, O_CREAT, O_EXCL, O_APPEND } = constants

/** Larger findings are not recorded: reading them could take longer than the analysis. */
const LARGEST_FINDINGS = 64 * 2 ** 20

/** Records are collected for PAUSE milliseconds, or PATIENCE times as long as the check of the inputs takes. */
const [PAUSE, PATIENCE] = [100, 20]

/**
 * Opens the journals of claimed outputs. `unchanged`: whether all inputs are still the same as at the start of the run. If an input
 * changed, digests could be of other content than the unit was computed from, so records are written only if nothing has changed.
 */
export function openJournals(
  claimed: readonly {
    readonly output: number
    readonly staging: { readonly journal: string; readonly resumed: boolean }
  }[],
  unchanged: () => boolean,
): Journals {
  const earlier = new Map(
    claimed.map(({ output, staging }) => [output, staging.resumed ? readJournal(staging.journal) : NOTHING]),
  )
  const paths = new Map(claimed.map(({ output, staging }) => [output, staging.journal]))
  const last = claimed.at(-1)?.output
  const begun = new Set<number>()
  const waiting = new Map<number, string[]>()
  const digests = new Map<string, StoredDigest[]>()
  let [isTrue, next] = [true, 0]

  function flush(): void {
    for (const [identity, all] of digests) put(last!, digestsLine(identity, all))
    digests.clear()
    if (!isTrue || waiting.size === 0) return
    const started = performance.now()
    isTrue = unchanged()
    if (isTrue) for (const [output, lines] of waiting) append(output, lines)
    waiting.clear()
    const ended = performance.now()
    next = ended + Math.max(PAUSE, PATIENCE * (ended - started))
  }
  function put(output: number, line: string): void {
    const lines = waiting.get(output) ?? []
    waiting.set(output, lines)
    lines.push(line)
  }
  function append(output: number, lines: readonly string[]): void {
    const path = paths.get(output)!
    attempt(path, () => {
      if (!begun.has(output)) begin(path, earlier.get(output)!)
      begun.add(output)
      write(path, `${lines.join('\n')}\n`, O_WRONLY | O_APPEND)
    })
  }
  return {
    found: [...earlier.values()].flatMap(({ records }) => records),
    tiles: [...earlier.values()].flatMap(({ tiles }) => tiles),
    stored: parseDigests([...earlier.values()].flatMap(({ digests }) => digests)),
    add(output = last!, record) {
      if (!isTrue || bytesOf(record) > LARGEST_FINDINGS) return
      put(output, recordLine(record))
      if (performance.now() >= next) flush()
    },
    addTiles(output, record) {
      if (!isTrue) return
      put(output, tileLine(record))
      if (performance.now() >= next) flush()
    },
    note(identity, digest) {
      if (!isTrue || last === undefined) return
      const known = digests.get(identity) ?? []
      digests.set(identity, known)
      known.push(digest)
      if (performance.now() >= next) flush()
    },
    flush,
  }
}

const bytesOf = ({ findings }: UnitRecord): number =>
  Object.values(findings).reduce((sum, { byteLength }) => sum + byteLength, 0)

/** Rewrites the journal, so that a torn last line is not joined to the next one. It is complete before it gets its name. */
function begin(path: string, { records, digests, tiles }: EarlierWork): void {
  rmSync(`${path}.new`, { force: true })
  const lines = [HEAD, ...records.map(recordLine), ...digests, ...tiles.map(tileLine), '']
  write(`${path}.new`, lines.join('\n'), O_WRONLY | O_CREAT | O_EXCL)
  moveSync(`${path}.new`, path)
}

function write(path: string, text: string, flags: number): void {
  const fd = openSync(path, flags | NOFOLLOW)
  try {
    writeFileSync(fd, text)
  } finally {
    closeSync(fd)
  }
}

function attempt(path: string, work: () => void): void {
  try {
    work()
  } catch (error) {
    throw writeFault(path, error)
  }
}

/** Reads a regular file without following links; empty if that is not possible. */
function readLines(path: string): string[] {
  let fd: number
  try {
    fd = openSync(path, constants.O_RDONLY | NOFOLLOW)
  } catch {
    return []
  }
  try {
    return fstatSync(fd).isFile() ? readFileSync(fd, 'utf8').split('\n') : []
  } catch {
    return []
  } finally {
    closeSync(fd)
  }
}

/** What an earlier run wrote: records, and whole lines with digests. */
export interface EarlierWork {
  readonly records: readonly UnitRecord[]
  readonly tiles: readonly TileRecord[]
  readonly digests: readonly string[]
}

const NOTHING: EarlierWork = { records: [], tiles: [], digests: [] }

export const readJournal = (path: string): EarlierWork => journalOf(readLines(path))

/** The same for a journal that is not in a file. */
export const parseJournal = (text: string): EarlierWork => journalOf(text.split('\n'))

function journalOf([first, ...lines]: readonly string[]): EarlierWork {
  if (first !== HEAD) return NOTHING
  // The last line can be incomplete if the run was killed.
  const digests = lines.filter((line) => parseDigests([line]).size > 0)
  const records = lines.flatMap((line) => parseRecord(line) ?? [])
  const finished = new Set(records.map(({ key }) => key))
  const tiles = lines.flatMap((line) => parseTiles(line) ?? []).filter(({ key }) => !finished.has(key))
  return { records, tiles, digests }
}
