import type { Diagnostic } from '../core/diagnostics.js'
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

/** A lock that was made, and not yet written. */
export interface Locked {
  /** Where the lock belongs: beside the recipe. */
  readonly path: string
  readonly lock: Lock
  /** The lock as it is written. */
  readonly text: string
  /** Warnings. */
  readonly diagnostics: readonly Diagnostic[]
}

/** Pins the models that a recipe uses. Downloads what is on the hub, reads every file, writes nothing. */
export async function lock(file: string, options: LockOptions = {}): Promise<Locked> {
  const { recipe, models, diagnostics } = await plan(file, options)
  const lock = await makeLock(recipe, models, options)
  return { path: lockPath(file), lock, text: lockText(lock), diagnostics }
}
