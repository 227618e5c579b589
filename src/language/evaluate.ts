/** The `evaluate` key of a recipe, and of steps with their own command. */
import { type Cursor, get, itemsOf, numberOf, textOf } from './cursor.js'
import { listOf, object, type Schema, text } from './schemaParts.js'
import type { Evaluate } from './types.js'

/** The keys of a command. */
export const commandKeys: Schema = {
  command: {
    ...listOf(text('The program, or one argument.')),
    description: 'The program and its arguments. {model} is replaced by the path of the checkpoint.',
  },
  env: {
    ...listOf({ type: 'string', pattern: '^[A-Za-z_][A-Za-z0-9_]*$', title: 'the name of an environment variable' }),
    description: 'Names of environment variables with credentials to pass to the command. Default: none.',
  },
  timeout: {
    type: 'number',
    minimum: 0.001,
    maximum: 1_000_000,
    description: 'Time limit in seconds. The run fails after it. Default: no limit.',
  },
}

/** The `evaluate` key. */
export const evaluateSchema: Schema = object(
  commandKeys,
  ['command'],
  'A command to run on each checkpoint. Requires --allow-commands.',
)

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
