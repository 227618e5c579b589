import { type Fault, fault } from '../../core/diagnostics.js'
import { interrupted, refuseInterrupted } from '../interrupted.js'
import { commandEnv } from './environment.js'
import { runGroup } from './group.js'

/** The numbers that an evaluation printed, by name. */
export type Figures = Readonly<Record<string, number>>

/** A command of a recipe. */
export interface Command {
  readonly command: readonly string[]
  /** Names of credentials in the environment that the command gets. */
  readonly env?: readonly string[]
  /** Seconds. */
  readonly timeout?: number
}

/** Limit of standard output in bytes: more than any object of numbers needs. */
const MOST_OUTPUT = 1 << 20
/** Errors show the last characters of standard error. */
const TAIL = 2000
/** A message lists at most so many variables. */
const LISTED = 5

export interface CommandOptions {
  /** The recipe's folder, absolute. */
  readonly folder: string
  /** The checkpoint's path, which replaces `{model}`. */
  readonly model: string
  /** Variables for the command, besides those of this process. */
  readonly env?: Readonly<Record<string, string>>
  readonly signal?: AbortSignal
}

/**
 * Runs an `evaluate` command, without a shell and without the user's credentials, and reads the JSON object of finite numbers on
 * its standard output. Ends everything that the command started.
 * Errors, with exit code 1: `evaluate-failed` if it cannot be started, fails or prints anything else, with the end of its standard
 * error; `evaluate-timeout`.
 */
export async function runCommand(
  { command, env: asked, timeout }: Command,
  { folder, model, env: own, signal }: CommandOptions,
): Promise<Figures> {
  const [program = '', ...words] = command.map((word) => word.replaceAll('{model}', model))
  refuseInterrupted(signal)
  const { env, withheld } = commandEnv(process.env, asked)
  const options = { cwd: folder, env: { ...env, ...own }, timeout, mostOutput: MOST_OUTPUT, tail: TAIL, signal }
  const { code, by, ended, stdout, stderr, error } = await runGroup(program, words, options)
  if (ended === 'interrupted' || signal?.aborted) throw interrupted()
  const shown = command.join(' ')
  const failed = (what: string, hint?: string): Fault => {
    const said = stderr.trim()
    return fault('evaluate-failed', `${shown}: ${what}${said === '' ? '' : `\n${said}`}`, hint, 1)
  }
  if (error) throw failed(`cannot be started: ${error.message}`)
  if (ended === 'output') throw failed(`printed more than ${MOST_OUTPUT} bytes`)
  if (ended === 'timeout')
    throw fault(
      'evaluate-timeout',
      `${shown}: timed out after ${timeout} s`,
      'raise evaluate.timeout or evaluate on less data',
      1,
    )
  if (code === null) throw failed(`was killed by ${by}`)
  if (code !== 0) throw failed(`exited with code ${code}`, withheldHint(withheld))
  const figures = parseFigures(stdout)
  if (typeof figures === 'string') throw failed(`must print one JSON object of numbers: ${figures}`)
  return figures
}

function withheldHint(withheld: readonly string[]): string | undefined {
  if (withheld.length === 0) return undefined
  const more = withheld.length > LISTED ? ` and ${withheld.length - LISTED} more` : ''
  return `terge does not pass credentials to commands (${withheld.slice(0, LISTED).join(', ')}${more}): list the ones that it needs in evaluate.env`
}

/** The figures, or why the text has none. */
function parseFigures(text: string): Figures | string {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return text.trim() === '' ? 'it printed nothing' : `it printed ${JSON.stringify(text.slice(0, 60))}`
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return 'it printed another JSON value'
  // Names are untrusted: `__proto__` must be an ordinary key.
  const figures: Record<string, number> = Object.create(null)
  for (const [name, figure] of Object.entries(value)) {
    if (typeof figure !== 'number' || !Number.isFinite(figure)) return `${JSON.stringify(name)} is not a finite number`
    figures[name] = figure
  }
  return figures
}
