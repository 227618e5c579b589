/** Ends a process with everything that it started. */
import { type ChildProcess, spawnSync } from 'node:child_process'

/** Whether the platform has process groups. */
export const hasGroups = (platform: NodeJS.Platform): boolean => platform !== 'win32'

/** What the system does. A parameter, so that tests can choose it. */
export interface Ending {
  readonly platform: NodeJS.Platform
  readonly env: NodeJS.ProcessEnv
  readonly kill: (pid: number, signal: NodeJS.Signals) => void
  /** The exit code of a program of the system; null if it cannot be run. */
  readonly run: (program: string, words: readonly string[]) => number | null
}

const SYSTEM: Ending = {
  platform: process.platform,
  env: process.env,
  kill: (pid, signal) => {
    process.kill(pid, signal)
  },
  run: (program, words) => spawnSync(program, words, { stdio: 'ignore', windowsHide: true, timeout: 5000 }).status,
}

/**
 * Sends a signal to the group that a process leads. Windows has no groups and no signals: there the process and all below it end at
 * once, while it runs. After its end its number can be another's, and nothing says what it started.
 */
export function endTree(
  child: Pick<ChildProcess, 'pid' | 'exitCode' | 'signalCode' | 'kill'>,
  signal: NodeJS.Signals,
  { platform, env, kill, run }: Ending = SYSTEM,
): void {
  if (child.pid === undefined) return
  try {
    if (hasGroups(platform)) kill(-child.pid, signal)
    else if (child.exitCode === null && child.signalCode === null) {
      // By its full path: Windows looks for programs in the working folder first.
      const taskkill = `${env.SystemRoot ?? 'C:\\Windows'}\\System32\\taskkill.exe`
      if (run(taskkill, ['/pid', String(child.pid), '/T', '/F']) !== 0) child.kill()
    }
  } catch {
    // No process is left.
  }
}
