/** Runs a program as the leader of its process group, so that everything that it starts can be ended with it. */
import spawn from 'cross-spawn'
import { endTree, hasGroups } from './endTree.js'

export interface GroupOptions {
  readonly cwd: string
  readonly env: NodeJS.ProcessEnv
  /** Seconds until the group is ended. */
  readonly timeout?: number | undefined
  /** Limit of standard output in bytes. More ends the group. */
  readonly mostOutput: number
  /** How many of the last characters of standard error are kept. */
  readonly tail: number
  readonly signal?: AbortSignal | undefined
}

/** Why a group was ended early. */
export type Ended = 'interrupted' | 'output' | 'timeout'

export interface GroupResult {
  /** Null if a signal ended the program. */
  readonly code: number | null
  readonly by: NodeJS.Signals | null
  readonly ended: Ended | undefined
  readonly stdout: string
  /** The end of standard error. */
  readonly stderr: string
  /** The program could not be started. */
  readonly error?: Error
}

/** Milliseconds until SIGKILL after SIGTERM, and until the output of processes that outlive the program is closed. */
const GRACE = 2000

/**
 * Runs a program, without a shell: on Windows, cross-spawn gives `.cmd` and `.bat` files to cmd.exe with every word quoted. Never
 * rejects: errors are in the result.
 */
export async function runGroup(program: string, words: readonly string[], options: GroupOptions): Promise<GroupResult> {
  const { cwd, env } = options
  const child = spawn(program, words, {
    ...{ cwd, env, detached: hasGroups(process.platform), windowsHide: true },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const output = collect(child.stdout!, child.stderr!, options, () => stop('output'))
  const timers: NodeJS.Timeout[] = []
  const later = (milliseconds: number, work: () => void) => timers.push(setTimeout(work, milliseconds))
  let ended: Ended | undefined
  let settle: (end: Pick<GroupResult, 'code' | 'by' | 'error'>) => void = () => {}
  const settled = new Promise<Pick<GroupResult, 'code' | 'by' | 'error'>>((resolve) => {
    settle = resolve
  })
  const endAll = (code: number | null): void => {
    endTree(child, 'SIGTERM')
    later(GRACE, () => {
      endTree(child, 'SIGKILL')
      // A process that left the group can keep the pipes open forever.
      later(GRACE, () => settle({ code, by: null }))
    })
  }
  function stop(why: Ended): void {
    if (ended) return
    ended = why
    endAll(null)
  }
  const onAbort = (): void => stop('interrupted')
  // A second Ctrl-C ends this process at once.
  const atExit = (): void => endTree(child, 'SIGKILL')
  process.on('exit', atExit)
  options.signal?.addEventListener('abort', onAbort)
  if (options.timeout !== undefined) later(options.timeout * 1000, () => stop('timeout'))
  child.on('error', (error) => settle({ code: null, by: null, error }))
  // The program's output is in the pipe when it ends. Processes that it left running get a moment to close it.
  child.on('exit', (code) => {
    if (!ended) later(GRACE, () => endAll(code))
  })
  child.on('close', (code, by) => {
    endTree(child, 'SIGKILL')
    settle({ code, by })
  })
  const end = await settled
  options.signal?.removeEventListener('abort', onAbort)
  process.off('exit', atExit)
  for (const timer of timers) clearTimeout(timer)
  child.stdout!.destroy()
  child.stderr!.destroy()
  return { ...end, ended, ...output() }
}

/** Collects standard output up to a limit, and the end of standard error. */
function collect(
  stdout: NodeJS.ReadableStream,
  stderr: NodeJS.ReadableStream,
  { mostOutput, tail }: GroupOptions,
  onTooMuch: () => void,
): () => Pick<GroupResult, 'stdout' | 'stderr'> {
  const parts: Buffer[] = []
  let size = 0
  let end = ''
  stdout.on('data', (bytes: Buffer) => {
    size += bytes.length
    if (size > mostOutput) onTooMuch()
    else parts.push(bytes)
  })
  stderr.setEncoding('utf8').on('data', (text: string) => {
    end = (end + text).slice(-tail)
  })
  return () => ({ stdout: Buffer.concat(parts).toString('utf8'), stderr: end })
}
