/**
 * Whether inputs stay as they are while they are read. A file's state is its inode, size, and times of change in
 * nanoseconds: taken when its header is read, compared before a result gets its name.
 */
import { stat } from 'node:fs/promises'
import { fault } from '../../core/diagnostics.js'

export interface InputState {
  /** Absolute. */
  readonly path: string
  /** Absent for a file that is not there yet: one that is still to be fetched. */
  readonly state?: string
}

/** What tells a file from every other and from itself after a change; undefined where there is none. Links are followed. */
async function stateOf(path: string): Promise<{ state: string; changed: bigint } | undefined> {
  const entry = await stat(path, { bigint: true }).catch(() => undefined)
  if (!entry) return undefined
  // Not the device: its number may be another after a restart.
  const { ino, size, mtimeNs, ctimeNs } = entry
  return { state: [ino, size, mtimeNs, ctimeNs].join(' '), changed: ctimeNs > mtimeNs ? ctimeNs : mtimeNs }
}

const MS = 1_000_000n
/** The clock that file systems take times from ticks this often at the least. */
const TICK = 20n * MS
/** Of file systems that keep whole seconds, or two. */
const COARSE = 2000n * MS
const SECOND = 1000n * MS

/**
 * The states of files that are about to be read, or were read since `opened`, in milliseconds. `wait`: milliseconds after which a
 * file that changed in the last moment can be told from a change in the same moment; 0 where all can be.
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
    // A server's clock that is ahead is no reason to wait for it.
    const fresh = found.changed + grain - from
    if (fresh > wait && fresh <= 2n * COARSE) wait = fresh
  }
  return { inputs, wait: Number((wait + MS - 1n) / MS) }
}

/** The same, with states for what has been fetched since. */
export const completeStates = (inputs: readonly InputState[]): Promise<InputState[]> =>
  Promise.all(
    inputs.map(async ({ path, state }) => {
      const now = state ?? (await stateOf(path))?.state
      return now === undefined ? { path } : { path, state: now }
    }),
  )

/** Error with exit 1: `input-changed`, if an input is another one now, or was written to. */
export async function refuseChanged(inputs: readonly InputState[]): Promise<void> {
  for (const { path, state } of inputs) {
    const now = await stateOf(path)
    if (now?.state === state) continue
    throw fault(
      'input-changed',
      `${path}: ${now ? 'was changed or replaced' : 'was removed'} while the run was under way, so the result would be a mixture`,
      'run again when nothing writes to it',
      1,
    )
  }
}
