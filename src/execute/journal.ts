/**
 * The journal of unfinished work: a line a finished tensor, so that `--resume` can go on after a kill. An entry is
 * believed only where its unit of work is still the same, what it wrote has the digest that was noted, and so has all
 * that it read; `execute/finished.ts` checks the last two against the files.
 */
import { closeSync, constants, fstatSync, openSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { fault } from '../core/diagnostics.js'
import { sha256 } from '../core/digest.js'
import { VERSION } from '../core/version.js'
import { jsonForm } from '../expr/walk.js'
import type { Plan, PlanOutput } from '../plan/types.js'
import type { FactorFigures } from '../steps/extract/record.js'
import type { InputState } from '../storage/local/inputStates.js'
import { NOFOLLOW } from '../storage/local/workFolder.js'

/** A tensor that was written: its digest, and those of the stored tensors that were digested with it, by leaf key. */
export interface JournalEntry {
  readonly tensor: number
  /** What was done, as a digest over the tensor's place and expression. */
  readonly unit: string
  readonly digest: string
  readonly inputs: Readonly<Record<string, string>>
  /** Results that are not finite where all inputs are; absent where there are none. */
  readonly nonFinite?: number
  /** What was done where methods' rules say nothing; absent where nothing was. */
  readonly notes?: readonly string[]
  /** Of an adapter's factor: what was found with it. */
  readonly figures?: FactorFigures
}

export interface Journal {
  /** What an earlier run finished; empty where it ran another plan or its inputs changed since. */
  readonly entries: readonly JournalEntry[]
  add(entry: Omit<JournalEntry, 'unit'>): void
}

/** A staged output: its files have their headers and full size already. */
export interface StagedOutput {
  /** By `PlanOutput.files`, absolute. */
  readonly files: readonly string[]
  readonly journal: Journal
}

/**
 * What all entries depend on: version and plan, and the inputs as they are now. Their inodes and times of change are this
 * machine's alone, so that no journal from elsewhere is believed.
 */
const headOf = (plan: Plan, { from, point }: PlanOutput, inputs: readonly InputState[]): string =>
  JSON.stringify({ journal: 2, terge: VERSION, plan: plan.digest, from, point, inputs })

/** A tensor's unit of work. Steps, scopes and factorings that its expression names are in the plan's digest. */
function unitOf({ tensors }: PlanOutput, tensor: number): string {
  const planned = tensors[tensor]!
  return sha256(JSON.stringify({ ...planned, expr: jsonForm(planned.expr) }))
}

export function openJournal(
  path: string,
  plan: Plan,
  output: PlanOutput,
  inputs: readonly InputState[],
  resume: boolean,
): Journal {
  const head = headOf(plan, output, inputs)
  const known = resume ? readEntries(path, head, output) : []
  const { O_WRONLY, O_CREAT, O_EXCL, O_APPEND } = constants
  attempt(path, () => {
    // Written anew, so that a torn last line can't glue itself to the next one; and whole before it has its name.
    rmSync(`${path}.new`, { force: true })
    write(`${path}.new`, [head, ...known.map(lineOf), ''].join('\n'), O_WRONLY | O_CREAT | O_EXCL)
    renameSync(`${path}.new`, path)
  })
  return {
    entries: known,
    add(entry) {
      const line = lineOf({ ...entry, unit: unitOf(output, entry.tensor) })
      attempt(path, () => write(path, `${line}\n`, O_WRONLY | O_APPEND))
    },
  }
}

/** An entry and its digest, so that a line which was damaged is known. */
const lineOf = (entry: JournalEntry): string => JSON.stringify([entry, sha256(JSON.stringify(entry))])

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
    const hint = code === 'ENOSPC' ? 'free space on the disk of the output and run again' : undefined
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

function readEntries(path: string, head: string, output: PlanOutput): JournalEntry[] {
  const [first, ...lines] = readLines(path)
  if (first !== head) return []
  const entries = new Map<number, JournalEntry>()
  for (const line of lines) {
    try {
      const [entry, sum] = JSON.parse(line) as [JournalEntry, unknown]
      if (sum !== sha256(JSON.stringify(entry))) continue
      const { tensor, unit, digest, inputs, figures = [], nonFinite = 0, notes = [] } = entry
      const placed = Number.isSafeInteger(tensor) && output.tensors[tensor] !== undefined
      const right = placed && typeof digest === 'string' && typeof inputs === 'object' && inputs !== null
      const told = Number.isSafeInteger(nonFinite) && notes.every((note) => typeof note === 'string')
      if (!told) continue
      if (right && figures.every(Number.isFinite) && unit === unitOf(output, tensor)) entries.set(tensor, entry)
    } catch {
      // The line that was being written when the run was killed.
    }
  }
  return [...entries.values()]
}
