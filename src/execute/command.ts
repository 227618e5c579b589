import { spawn } from 'node:child_process'
import { type Fault, fault } from '../core/diagnostics.js'
import { interrupted, refuseInterrupted } from './interrupted.js'

/** What an evaluation printed, by name. */
export type Figures = Readonly<Record<string, number>>

/** More than any object of numbers takes. */
const MOST_OUTPUT = 1 << 20
/** Of standard error, what is kept to be shown: its end. */
const TAIL = 2000
/** After these milliseconds a command that was asked to end is ended. */
const PATIENCE = 2000

export interface CommandOptions {
  /** The recipe's, absolute. */
  readonly folder: string
  /** The checkpoint's path, for `{model}`. */
  readonly model: string
  readonly signal?: AbortSignal
}

/**
 * Runs an `evaluate` command, without a shell, and reads the JSON object of finite numbers on its standard output.
 * Faults: `evaluate-failed` (exit 1) where it can't be started, fails or prints anything else, with the end of its standard error.
 */
export async function runCommand(
  command: readonly string[],
  { folder, model, signal }: CommandOptions,
): Promise<Figures> {
  const [program = '', ...words] = command.map((word) => word.replaceAll('{model}', model))
  const shown = command.join(' ')
  refuseInterrupted(signal)
  return new Promise((resolve, reject) => {
    const child = spawn(program, words, { cwd: folder, stdio: ['ignore', 'pipe', 'pipe'], windowsHide: true })
    const out: Buffer[] = []
    let size = 0
    let tail = ''
    let late: NodeJS.Timeout | undefined
    const stop = (): void => {
      child.kill()
      late = setTimeout(() => child.kill('SIGKILL'), PATIENCE)
    }
    const settle = (work: () => void): void => {
      signal?.removeEventListener('abort', stop)
      clearTimeout(late)
      work()
    }
    const failed = (what: string): Fault => {
      const said = tail.trim()
      return fault('evaluate-failed', `${shown}: ${what}${said === '' ? '' : `\n${said}`}`, undefined, 1)
    }
    signal?.addEventListener('abort', stop)
    child.stdout.on('data', (bytes: Buffer) => {
      size += bytes.length
      if (size > MOST_OUTPUT) stop()
      else out.push(bytes)
    })
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      tail = (tail + text).slice(-TAIL)
    })
    child.on('error', (error) => settle(() => reject(failed(`can’t be started: ${error.message}`))))
    child.on('close', (code, by) =>
      settle(() => {
        if (signal?.aborted) reject(interrupted())
        else if (size > MOST_OUTPUT) reject(failed(`prints more than ${MOST_OUTPUT} bytes`))
        else if (code !== 0) reject(failed(code === null ? `was ended by ${by}` : `ended with ${code}`))
        else {
          const figures = parseFigures(Buffer.concat(out).toString('utf8'))
          if (typeof figures === 'string') reject(failed(`must print one JSON object of numbers: ${figures}`))
          else resolve(figures)
        }
      }),
    )
  })
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
