/** The `evaluate` key of a recipe, and of steps with their own command. */
import { type Cursor, get, itemsOf, numberOf, textOf } from './cursor.js'
import type { Evaluate } from './types.js'

export function readEvaluate(at: Cursor | undefined): Evaluate | undefined {
  const texts = (key: string) =>
    itemsOf(get(at, key))
      .map(textOf)
      .filter((word) => word !== undefined)
  const [env, timeout] = [texts('env'), numberOf(get(at, 'timeout'))]
  return (
    at && {
      command: texts('command'),
      ...(env.length > 0 ? { env } : {}),
      ...(timeout === undefined ? {} : { timeout }),
      at: at.path,
    }
  )
}
