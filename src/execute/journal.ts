/**
 * The journal of unfinished work: a record a line, so that `--resume` can go on after a kill. What it says is a claim; `units/claims.ts`
 * tells what of it is believed.
 */
import { closeSync, constants, fstatSync, openSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { fault } from '../core/diagnostics.js'
import { NOFOLLOW } from '../storage/local/workFolder.js'
import { parseRecord, recordLine, type UnitRecord } from './units/records.js'

/** The journals of a run's outputs. */
export interface Journals {
  /** What earlier runs left. */
  readonly found: readonly UnitRecord[]
  /** To the journal of an output; what several outputs share goes to that of the output which is published last. */
  add(output: number | undefined, record: UnitRecord): void
  /** Writes what has been added, before another process works on the outputs or they get their names. */
  flush(): void
}

/** The first line: the form of the others. */
const HEAD = '{"journal":4}'

const { O_WRONLY, O_CREAT, O_EXCL, O_APPEND } = constants

/** Findings of more bytes are found again: they would be lines that take longer to read than many an analysis. */
const LARGEST_FINDINGS = 64 * 2 ** 20

/** Records wait so many milliseconds for each other, and so many times as long as the look at the inputs takes. */
const [PAUSE, PATIENCE] = [100, 20]

/**
 * `unchanged`: whether all inputs are still as they were when the run began. A record's digests may be of other content than the unit was
 * computed from where a file changed in between, so that a record is written only if nothing has changed up to then.
 */
export function openJournals(
  claimed: readonly {
    readonly output: number
    readonly staging: { readonly journal: string; readonly resumed: boolean }
  }[],
  unchanged: () => boolean,
): Journals {
  const earlier = new Map(
    claimed.map(({ output, staging }) => [output, staging.resumed ? readRecords(staging.journal) : []]),
  )
  const paths = new Map(claimed.map(({ output, staging }) => [output, staging.journal]))
  const last = claimed.at(-1)?.output
  const begun = new Set<number>()
  const waiting = new Map<number, string[]>()
  let [isTrue, next] = [true, 0]

  function flush(): void {
    if (!isTrue || waiting.size === 0) return
    const started = performance.now()
    isTrue = unchanged()
    if (isTrue) for (const [output, lines] of waiting) append(output, lines)
    waiting.clear()
    const ended = performance.now()
    next = ended + Math.max(PAUSE, PATIENCE * (ended - started))
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
    found: [...earlier.values()].flat(),
    add(output = last!, record) {
      if (!isTrue || bytesOf(record) > LARGEST_FINDINGS) return
      const lines = waiting.get(output) ?? []
      waiting.set(output, lines)
      lines.push(recordLine(record))
      if (performance.now() >= next) flush()
    },
    flush,
  }
}

const bytesOf = ({ findings }: UnitRecord): number =>
  Object.values(findings).reduce((sum, { byteLength }) => sum + byteLength, 0)

/** Written anew, so that a torn last line can't glue itself to the next one; and whole before it has its name. */
function begin(path: string, records: readonly UnitRecord[]): void {
  rmSync(`${path}.new`, { force: true })
  write(`${path}.new`, [HEAD, ...records.map(recordLine), ''].join('\n'), O_WRONLY | O_CREAT | O_EXCL)
  renameSync(`${path}.new`, path)
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
    const { code, message } = error as NodeJS.ErrnoException
    const hint = code === 'ENOSPC' ? 'free space on the output’s disk and run again' : undefined
    throw fault('write-failed', `${path}: ${message}`, hint, 1)
  }
}

/** Of a regular file, no link followed; nothing where it can't be had. */
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

function readRecords(path: string): UnitRecord[] {
  const [first, ...lines] = readLines(path)
  if (first !== HEAD) return []
  // The last line may have been under way when the run was killed.
  return lines.flatMap((line) => parseRecord(line) ?? [])
}
