/** Runs the command. */
import { execFile } from 'node:child_process'
import type { EventEmitter } from 'node:events'
import os from 'node:os'
import path from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'

const root = fileURLToPath(new URL('../../..', import.meta.url))
export const BIN = path.join(root, 'bin/run.js')
export const fixture = (name: string): string => path.join(root, 'test/fixtures', name)

/** Without colours. With both variables set Node itself prints a warning. Reading more certificates would cost each process 50 ms. */
export const plainEnv: NodeJS.ProcessEnv = { ...process.env, NO_COLOR: '1' }
delete plainEnv.FORCE_COLOR
delete plainEnv.NODE_EXTRA_CA_CERTS

export interface Ran {
  readonly code: number
  readonly out: string
  readonly err: string
}

/** The real command, in a process of its own. NO_COLOR is set; the working folder is one without anything of ours in it. */
export const tergeProcess = (args: readonly string[], cwd = os.tmpdir(), env: NodeJS.ProcessEnv = {}): Promise<Ran> =>
  new Promise((resolve) => {
    const options = { cwd, env: { ...plainEnv, ...env }, maxBuffer: 1 << 26 }
    execFile(process.execPath, [BIN, ...args], options, (error, out, err) => {
      resolve({ code: error ? Number(error.code) : 0, out, err })
    })
  })

let last: Promise<unknown> = Promise.resolve()

/**
 * The same program within this process, which saves most of what a small command costs. One at a time: working folder, environment
 * and streams are the process's. A run takes one thread unless it is told how many; what is asserted of threads, signals, limits
 * and exit codes of processes wants `tergeProcess`.
 */
export function terge(args: readonly string[], cwd = os.tmpdir(), env: NodeJS.ProcessEnv = {}): Promise<Ran> {
  const turn = last.then(() => runHere(args, cwd, env))
  last = turn.catch(() => {})
  return turn
}

type Main = (argv: readonly string[], url: string) => Promise<void>
// Not the bundle, which the command loads: its modules are those of the other tests in this process, and so are its workers.
const loaded = import('../../src/commands/main.js') as Promise<{ readonly main: Main }>

async function runHere(args: readonly string[], cwd: string, env: NodeJS.ProcessEnv): Promise<Ran> {
  const { main } = await loaded
  const restore = [useFolder(cwd), useEnvironment({ ...plainEnv, ...env }), keepListeners()]
  const [out, err] = [captured(process.stdout), captured(process.stderr)]
  try {
    await main(withThread(args), pathToFileURL(BIN).href)
    const code = Number(process.exitCode ?? 0)
    return { code, out: out.text(), err: err.text() }
  } finally {
    out.release()
    err.release()
    process.exitCode = undefined
    for (const undo of restore) undo()
  }
}

function withThread(args: readonly string[]): readonly string[] {
  const [command, ...rest] = args
  const takes = command === 'run' || command === 'merge'
  return takes && !args.some((arg) => arg.startsWith('--threads')) ? [command, '--threads', '1', ...rest] : args
}

function useFolder(folder: string): () => void {
  const before = process.cwd()
  process.chdir(folder)
  return () => process.chdir(before)
}

function useEnvironment(env: NodeJS.ProcessEnv): () => void {
  const before = { ...process.env }
  const set = (to: NodeJS.ProcessEnv) => {
    for (const name of Object.keys(process.env)) if (to[name] === undefined) delete process.env[name]
    for (const [name, value] of Object.entries(to)) if (value !== undefined) process.env[name] = value
  }
  set(env)
  return () => set(before)
}

/** A command adds listeners and leaves them to the end of its process. */
function keepListeners(): () => void {
  const places: readonly (readonly [EventEmitter, string])[] = [
    [process, 'beforeExit'],
    [process.stdout, 'error'],
    [process.stderr, 'error'],
  ]
  const before = places.map(([emitter, event]) => emitter.listeners(event))
  return () => {
    for (const [index, [emitter, event]] of places.entries())
      for (const listener of emitter.listeners(event))
        if (!before[index]!.includes(listener)) emitter.off(event, listener as () => void)
  }
}

/** What is written to a stream, which is no terminal meanwhile. */
function captured(stream: NodeJS.WriteStream): { readonly text: () => string; readonly release: () => void } {
  const chunks: Buffer[] = []
  const { write, isTTY, columns } = stream
  const keep = (chunk: Uint8Array | string, ...rest: unknown[]): boolean => {
    chunks.push(typeof chunk === 'string' ? Buffer.from(chunk) : Buffer.from(chunk))
    const done = rest.find((one) => typeof one === 'function') as (() => void) | undefined
    if (done) process.nextTick(done)
    return true
  }
  Object.assign(stream, { write: keep, isTTY: false, columns: undefined })
  return {
    text: () => Buffer.concat(chunks).toString(),
    release: () => Object.assign(stream, { write, isTTY, columns }),
  }
}
