/**
 * Distinguishes a process from a later one with the same number, for locks of killed processes. Linux says when a process started.
 * Elsewhere the mark of a process is a time after its start, and a process with its number that started later is another one.
 */
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'

/** What the system says. A parameter, so that tests can choose it. */
export interface System {
  readonly platform: NodeJS.Platform
  readonly env: NodeJS.ProcessEnv
  /** The text of a file of the system. Throws if there is none. */
  readonly read: (file: string) => string
  /** The output of a program of the system. Throws if it fails. */
  readonly run: (program: string, words: readonly string[]) => string
}

const SYSTEM: System = {
  platform: process.platform,
  env: process.env,
  read: (file) => readFileSync(file, 'latin1'),
  run: (program, words) =>
    execFileSync(program, words, {
      ...{ encoding: 'latin1', timeout: 10_000, windowsHide: true, stdio: ['ignore', 'pipe', 'ignore'] },
      env: { ...process.env, LC_ALL: 'C', TZ: 'UTC' },
    }),
}

/** Milliseconds: `ps` gives whole seconds, and clocks are adjusted. */
const SLACK = 2000
/** Milliseconds during which an answer is used again: who waits for a lock asks often, and starting a program takes long. */
const VALID = 10_000

/** The mark of this process, without spaces. */
export const ownMark = (pid: number, system: System = SYSTEM, now = Date.now()): string =>
  bootAndTicks(pid, system) ?? `~${now}`

const answers = new Map<string, { readonly until: number; readonly same: boolean }>()

/** Whether the running process with this number is the one with the mark. True if the system does not say. */
export function hasMark(pid: number, mark: string, system: System = SYSTEM): boolean {
  const time = /^~(\d{1,15})$/.exec(mark)?.[1]
  if (time === undefined) {
    const found = mark === '-' ? undefined : bootAndTicks(pid, system)
    return found === undefined || found === mark
  }
  const key = `${pid} ${mark}`
  const known = answers.get(key)
  if (known && known.until > Date.now()) return known.same
  const started = startTime(pid, system)
  const same = started === undefined || started <= Number(time) + SLACK
  answers.set(key, { until: Date.now() + VALID, same })
  return same
}

/** On Linux: the boot, and the clock ticks from it to the start of the process. */
function bootAndTicks(pid: number, { read }: System): string | undefined {
  try {
    const stat = read(`/proc/${pid}/stat`)
    // The second field is the program name in parentheses and can contain anything; the start is field 22.
    const ticks = stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19]
    return `${read('/proc/sys/kernel/random/boot_id').trim()}/${ticks}`
  } catch {
    return undefined
  }
}

/** When a process started, in milliseconds since 1970. */
function startTime(pid: number, { platform, env, run }: System): number | undefined {
  try {
    const text =
      platform === 'win32'
        ? // By its full path: Windows looks for programs in the working folder first.
          run(`${env.SystemRoot ?? 'C:\\Windows'}\\System32\\WindowsPowerShell\\v1.0\\powershell.exe`, [
            ...['-NoProfile', '-NonInteractive', '-Command'],
            `(Get-Process -Id ${pid}).StartTime.ToUniversalTime().ToString('yyyy-MM-ddTHH:mm:ssZ')`,
          ])
        : `${run('/bin/ps', ['-o', 'lstart=', '-p', String(pid)]).trim()} UTC`
    const time = Date.parse(text.trim())
    return Number.isNaN(time) ? undefined : time
  } catch {
    return undefined
  }
}
