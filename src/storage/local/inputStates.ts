/**
 * Detects inputs that change during a run. The state of a file is its inode, size and change times in nanoseconds. It is
 * taken when the header is read, and compared before the result is published.
 */
import { type BigIntStats, statSync } from 'node:fs'
import { stat } from 'node:fs/promises'
import { fault } from '../../core/diagnostics.js'

export interface InputState {
  /** Absolute. */
  readonly path: string
  /** Absent if the file does not exist yet because it still has to be downloaded. */
  readonly state?: string
}

/** The state of a file, which differs for other files and after a change; undefined if there is no file. Follows links. */
async function stateOf(path: string): Promise<{ state: string; changed: bigint } | undefined> {
  const entry = await stat(path, { bigint: true }).catch(() => undefined)
  if (!entry) return undefined
  const { mtimeNs, ctimeNs } = entry
  return { state: textOf(entry), changed: ctimeNs > mtimeNs ? ctimeNs : mtimeNs }
}

/** Not the device, because its number can change at a restart. */
const textOf = ({ ino, size, mtimeNs, ctimeNs }: BigIntStats): string => [ino, size, mtimeNs, ctimeNs].join(' ')

const MS = 1_000_000n
/** Longest tick, in nanoseconds, of the clock that file systems use. */
const TICK = 20n * MS
/** The tick of file systems that store times in units of one or two seconds. */
const COARSE = 2000n * MS
const SECOND = 1000n * MS

/**
 * The states of files that are about to be read, or were read after `opened` (in milliseconds). A file that changed very
 * recently could change again without a new time: `wait` says how many milliseconds to wait until that is impossible.
 */
export async function inputStates(
  paths: readonly string[],
  opened = Date.now(),
): Promise<{ readonly inputs: InputState[]; readonly wait: number }> {
  const from = BigInt(Math.floor(opened)) * MS
  const inputs: InputState[] = []
  let wait = 0n
  for (const path of paths) {
    const found = await stateOf(path)
    inputs.push(found ? { path, state: found.state } : { path })
    if (!found) continue
    const grain = found.changed % SECOND === 0n ? COARSE : TICK
    // Do not wait for a server whose clock is ahead.
    const fresh = found.changed + grain - from
    if (fresh > wait && fresh <= 2n * COARSE) wait = fresh
  }
  return { inputs, wait: Number((wait + MS - 1n) / MS) }
}

/** Adds the states of files that have been downloaded since. */
export const completeStates = (inputs: readonly InputState[]): Promise<InputState[]> =>
  Promise.all(
    inputs.map(async ({ path, state }) => {
      const now = state ?? (await stateOf(path))?.state
      return now === undefined ? { path } : { path, state: now }
    }),
  )

/** Whether all inputs still have these states. */
export function areUnchanged(inputs: readonly InputState[]): boolean {
  try {
    return inputs.every(({ path, state }) => {
      const entry = statSync(path, { bigint: true, throwIfNoEntry: false })
      return (entry && textOf(entry)) === state
    })
  } catch {
    return false
  }
}

/** Checks that no input was replaced or changed. Error with exit 1: `input-changed`. */
export async function refuseChanged(inputs: readonly InputState[]): Promise<void> {
  for (const { path, state } of inputs) {
    const now = await stateOf(path)
    if (now?.state === state) continue
    throw fault(
      'input-changed',
      `${path}: ${now ? 'was changed or replaced' : 'was removed'} during the run, so the result would mix old and new data`,
      'run again when nothing writes to it',
      1,
    )
  }
}
