import { type ChildProcess, spawn } from 'node:child_process'
import { type Fault, fault } from '../../core/diagnostics.js'
import { interrupted, refuseInterrupted } from '../interrupted.js'
import { commandEnv } from './environment.js'

/** What an evaluation printed, by name. */
export type Figures = Readonly<Record<string, number>>

/** A command as a recipe has it. */
export interface Command {
  readonly command: readonly string[]
  /** Names of credentials in the environment that it may see. */
  readonly env?: readonly string[]
  /** Seconds. */
  readonly timeout?: number
}

/** More than any object of numbers takes. */
const MOST_OUTPUT = 1 << 20
/** Of standard error, what is kept to be shown: its end. */
const TAIL = 2000
/** Milliseconds that processes have to end after they were asked to; and that those which a command left have to close its output. */
const GRACE = 2000
/** Names of variables that a message lists. */
const LISTED = 5

export interface CommandOptions {
  /** The recipe's, absolute. */
  readonly folder: string
  /** The checkpoint's path, for `{model}`. */
  readonly model: string
  readonly signal?: AbortSignal
}

/** Why a command is ended before it ends by itself. */
type Ended = 'interrupted' | 'output' | 'timeout'

/**
 * Runs an `evaluate` command, without a shell and without the user's credentials, and reads the JSON object of finite numbers on
 * its standard output. It is the leader of a process group: whatever it started ends with it.
 * Faults, with exit 1: `evaluate-failed` where it can't be started, fails or prints anything else, with the end of its standard
 * error; `evaluate-timeout`.
 */
export async function runCommand(
  { command, env: asked, timeout }: Command,
  { folder, model, signal }: CommandOptions,
): Promise<Figures> {
  const [program = '', ...words] = command.map((word) => word.replaceAll('{model}', model))
  const shown = command.join(' ')
  refuseInterrupted(signal)
  const { env, withheld } = commandEnv(process.env, asked)
  return new Promise((resolve, reject) => {
    const child = spawn(program, words, {
      cwd: folder,
      env,
      stdio: ['ignore', 'pipe', 'pipe'],
      windowsHide: true,
      detached: GROUPS,
    })
    const out: Buffer[] = []
    let size = 0
    let tail = ''
    let ended: Ended | undefined
    const timers: NodeJS.Timeout[] = []
    const later = (milliseconds: number, work: () => void) => timers.push(setTimeout(work, milliseconds))
    /** A second Ctrl-C ends this process at once. */
    const atExit = (): void => killAll(child, 'SIGKILL')
    const endAll = (code: number | null): void => {
      killAll(child, 'SIGTERM')
      later(GRACE, () => {
        killAll(child, 'SIGKILL')
        // Who has left the group may hold the pipes for ever.
        later(GRACE, () => finish(code, null))
      })
    }
    const stop = (why: Ended): void => {
      if (ended) return
      ended = why
      endAll(null)
    }
    const onAbort = (): void => stop('interrupted')
    const settle = (work: () => void): void => {
      signal?.removeEventListener('abort', onAbort)
      process.off('exit', atExit)
      for (const timer of timers) clearTimeout(timer)
      child.stdout.destroy()
      child.stderr.destroy()
      work()
    }
    const failed = (what: string, hint?: string): Fault => {
      const said = tail.trim()
      return fault('evaluate-failed', `${shown}: ${what}${said === '' ? '' : `\n${said}`}`, hint, 1)
    }
    const result = (code: number | null, by: NodeJS.Signals | null): Figures => {
      if (ended === 'interrupted' || signal?.aborted) throw interrupted()
      if (ended === 'output') throw failed(`prints more than ${MOST_OUTPUT} bytes`)
      if (ended === 'timeout')
        throw fault(
          'evaluate-timeout',
          `${shown}: did not end within ${timeout} s`,
          'raise evaluate.timeout, or evaluate less',
          1,
        )
      if (code === null) throw failed(`was ended by ${by}`)
      if (code !== 0) throw failed(`ended with ${code}`, withheldHint(withheld))
      const figures = parseFigures(Buffer.concat(out).toString('utf8'))
      if (typeof figures === 'string') throw failed(`must print one JSON object of numbers: ${figures}`)
      return figures
    }
    const finish = (code: number | null, by: NodeJS.Signals | null): void =>
      settle(() => {
        try {
          resolve(result(code, by))
        } catch (error) {
          reject(error)
        }
      })
    process.on('exit', atExit)
    signal?.addEventListener('abort', onAbort)
    if (timeout !== undefined) later(timeout * 1000, () => stop('timeout'))
    child.stdout.on('data', (bytes: Buffer) => {
      size += bytes.length
      if (size > MOST_OUTPUT) stop('output')
      else out.push(bytes)
    })
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      tail = (tail + text).slice(-TAIL)
    })
    child.on('error', (error) => settle(() => reject(failed(`can’t be started: ${error.message}`))))
    // What it printed is in the pipe when it ends; what it left running gets no more than a moment to close it.
    child.on('exit', (code) => {
      if (!ended) later(GRACE, () => endAll(code))
    })
    child.on('close', (code, by) => {
      killAll(child, 'SIGKILL')
      finish(code, by)
    })
  })
}

/** Where a process can be the leader of a group. */
const GROUPS = process.platform !== 'win32'

/** Sends a signal to a command and all that it started. */
function killAll(child: ChildProcess, signal: NodeJS.Signals): void {
  if (child.pid === undefined) return
  try {
    if (GROUPS) process.kill(-child.pid, signal)
    else child.kill(signal)
  } catch {
    // None is left.
  }
}

function withheldHint(withheld: readonly string[]): string | undefined {
  if (withheld.length === 0) return undefined
  const more = withheld.length > LISTED ? ` and ${withheld.length - LISTED} more` : ''
  return `credentials are not passed on (${withheld.slice(0, LISTED).join(', ')}${more}): list those that it needs in evaluate.env`
}

/** The figures, or what keeps the text from being some. */
function parseFigures(text: string): Figures | string {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return text.trim() === '' ? 'it printed nothing' : `it printed ${JSON.stringify(text.slice(0, 60))}`
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return 'it printed something else'
  // Names come from outside: `__proto__` is one like any other.
  const figures: Record<string, number> = Object.create(null)
  for (const [name, figure] of Object.entries(value)) {
    if (typeof figure !== 'number' || !Number.isFinite(figure)) return `${JSON.stringify(name)} is no finite number`
    figures[name] = figure
  }
  return figures
}
