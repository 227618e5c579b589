import type { Diagnostic } from '../core/diagnostics.js'
import { withPace } from '../execute/paced.js'
import { type Lock, lockPath, lockText } from '../lineage/lock.js'
import type { LoadOptions } from '../recipe/load.js'
import type { FetchOptions } from './opened/models.js'
import { plan } from './plan.js'
import { makeLock } from './proof/locking.js'

/** How a recipe is locked. */
export interface LockOptions extends LoadOptions, FetchOptions {
  /** Default: one per CPU core. */
  readonly threads?: number
}

/** A lock that has been made, but not written. */
export interface Locked {
  /** The path of the lock, next to the recipe. */
  readonly path: string
  /** The commit, files and digests of each model. */
  readonly lock: Lock
  /** The text of the lock file. */
  readonly text: string
  /** Warnings. */
  readonly diagnostics: readonly Diagnostic[]
}

/**
 * Pins the models of a recipe: their commits, files and digests. Downloads models from the hub and reads every file. Writes
 * nothing.
 *
 * @throws the errors of `plan`
 * @throws `read-failed` if a file cannot be read
 * @throws `interrupted` after an abort by `signal`
 */
export async function lock(file: string, options: LockOptions = {}): Promise<Locked> {
  const { recipe, models, diagnostics } = await plan(file, options)
  const lock = await withPace(options.listen, (listen) => makeLock(recipe, models, { ...options, listen }))
  return { path: lockPath(file), lock, text: lockText(lock), diagnostics }
}
