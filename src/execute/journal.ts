/**
 * The journal of unfinished work: a line a finished tensor, so that `--resume` can go on after a kill.
 * What it says is checked against the staged bytes before it is believed.
 */
import { appendFileSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import type { Plan } from '../plan/types.js'
import type { FactorFigures } from './factors.js'

/** A tensor that was written: its digest, and those of the stored tensors that were digested with it, by leaf key. */
export interface JournalEntry {
  readonly tensor: number
  readonly digest: string
  readonly inputs: Readonly<Record<string, string>>
  /** Of an adapter's factor: what was found with it. */
  readonly figures?: FactorFigures
}

export interface Journal {
  /** What an earlier run finished; empty where it ran another plan or its inputs changed since. */
  readonly entries: readonly JournalEntry[]
  add(entry: JournalEntry): void
}

/** Inputs as they are now; an input that changes keeps its journal from being believed. */
function headOf(plan: Plan, inputs: readonly string[]): string {
  const states = inputs.map((path) => {
    const { size, mtimeMs, ino } = statSync(path)
    return [size, mtimeMs, ino]
  })
  return JSON.stringify({ journal: 1, plan: plan.digest, inputs: states })
}

export function openJournal(path: string, plan: Plan, inputs: readonly string[], resume: boolean): Journal {
  const head = headOf(plan, inputs)
  const known = resume ? readEntries(path, head) : []
  // Written anew, so that a torn last line can't glue itself to the next one.
  writeFileSync(path, [head, ...known.map((entry) => JSON.stringify(entry)), ''].join('\n'))
  return {
    entries: known,
    add(entry) {
      appendFileSync(path, `${JSON.stringify(entry)}\n`)
    },
  }
}

function readEntries(path: string, head: string): JournalEntry[] {
  let lines: string[]
  try {
    lines = readFileSync(path, 'utf8').split('\n')
  } catch {
    return []
  }
  if (lines[0] !== head) return []
  const entries = new Map<number, JournalEntry>()
  for (const line of lines.slice(1)) {
    try {
      const entry = JSON.parse(line) as JournalEntry
      const { tensor, digest, inputs, figures = [] } = entry
      const right = Number.isSafeInteger(tensor) && typeof digest === 'string' && typeof inputs === 'object'
      if (right && figures.every(Number.isFinite)) entries.set(tensor, entry)
    } catch {
      // The line that was being written when the run was killed.
    }
  }
  return [...entries.values()]
}
