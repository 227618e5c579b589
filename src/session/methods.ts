import { fault } from '../core/diagnostics.js'
import { didYouMean, quote } from '../core/suggest.js'
import { lookupMethod, METHOD_NAMES, METHODS } from '../methods/registry.js'
import type { Method } from '../methods/types.js'

/** Every merge method, in the order of the documentation. Never throws. */
export const listMethods = (): readonly Method[] => METHODS

/**
 * Finds a merge method by name or alias.
 *
 * @throws `unknown-method` if there is none; the hint has similar names
 */
export function findMethod(name: string): Method {
  const method = lookupMethod(name)
  if (method) return method
  throw fault('unknown-method', `there is no method ${quote(name)}`, didYouMean(name, METHOD_NAMES, 'methods'))
}
