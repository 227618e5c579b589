/** The file of trials on the disk. Each trial is one write, so that a kill can only cut off the last line. */
import { closeSync, constants, openSync, truncateSync, writeSync } from 'node:fs'
import { lstat } from 'node:fs/promises'
import path from 'node:path'
import { fault } from '../../core/diagnostics.js'
import { NOFOLLOW } from '../../core/system/disk.js'
import { VERSION } from '../../core/version.js'
import type { RecipeDimension } from '../../recipe/search/types.js'
import type { Trial } from '../../search/types.js'
import { readRegularSync } from '../../storage/local/regular.js'
import { replaceFile } from '../../storage/local/replaceFile.js'
import type { SearchFiles } from './files.js'
import { changedSearch } from './identity.js'
import { headLine, identityDigest, parseTrials, type SearchIdentity, trialLine } from './trialLines.js'

/** In bytes: a million trials of a hundred parameters. */
const MOST_BYTES = 2 ** 31 - 1

const isThere = async (file: string): Promise<boolean> => (await lstat(file).catch(() => undefined)) !== undefined

/** Error: `output-exists`, for files of an earlier search. */
export async function refuseEarlier(
  { trials, best, page }: SearchFiles,
  { resume, force }: { readonly resume: boolean; readonly force: boolean },
): Promise<void> {
  if (resume || force) return
  for (const file of [trials, best, page])
    if (await isThere(file))
      throw fault(
        'output-exists',
        `${file}: exists already, from an earlier search`,
        'continue that search with --resume, or begin again with --force',
      )
}

export interface TrialLog {
  /** Trials of an earlier run, by index. */
  readonly earlier: ReadonlyMap<number, Trial>
  /** Error: `write-failed`. */
  readonly add: (trial: Trial) => void
  readonly close: () => void
}

/** Begins a file of trials, or continues one. Errors: `search-changed`, `bad-trials`, `cannot-write`. */
export async function openLog(
  file: string,
  identity: SearchIdentity,
  dimensions: readonly RecipeDimension[],
  { resume, sync }: { readonly resume: boolean; readonly sync: boolean },
): Promise<TrialLog> {
  const name = path.basename(file)
  const found =
    resume && (await isThere(file)) ? parseTrials(name, readRegularSync(file, MOST_BYTES).toString('utf8')) : undefined
  if (found) {
    const changed = changedSearch(name, found.head, identity)
    if (changed) throw changed
  }
  const earlier = new Map((found?.trials(dimensions) ?? []).map((trial) => [trial.index, trial]))
  if (found) truncateSync(file, found.whole)
  else {
    const head = { trials: 1, terge: VERSION, digest: identityDigest(identity), ...identity } as const
    await replaceFile(file, headLine(head), sync)
  }
  const fd = openSync(file, constants.O_WRONLY | constants.O_APPEND | NOFOLLOW)
  return {
    earlier,
    add(trial) {
      try {
        const line = Buffer.from(trialLine(trial, dimensions))
        if (writeSync(fd, line) !== line.length) throw new Error('the line is not complete')
      } catch (error) {
        const message = `${file}: ${(error as Error).message}`
        throw fault('write-failed', message, 'free space on the recipe’s disk, then continue with --resume', 1)
      }
    },
    close: () => closeSync(fd),
  }
}
