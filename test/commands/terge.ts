/** Runs the real command. */
import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('../../../', import.meta.url))
export const BIN = path.join(root, 'bin/run.js')
export const fixture = (name: string): string => path.join(root, 'test/fixtures', name)

/** Without colours. With both variables set Node itself prints a warning. */
export const plainEnv: NodeJS.ProcessEnv = { ...process.env, NO_COLOR: '1' }
delete plainEnv.FORCE_COLOR

export interface Ran {
  readonly code: number
  readonly out: string
  readonly err: string
}

/** NO_COLOR is set; the working folder is one without anything of ours in it. */
export const terge = (args: readonly string[], cwd = os.tmpdir(), env: NodeJS.ProcessEnv = {}): Promise<Ran> =>
  new Promise((resolve) => {
    const options = { cwd, env: { ...plainEnv, ...env }, maxBuffer: 1 << 26 }
    execFile(process.execPath, [BIN, ...args], options, (error, out, err) => {
      resolve({ code: error ? Number(error.code) : 0, out, err })
    })
  })

/** A folder that is gone when the work is done. */
export async function inFolder<T>(work: (folder: string) => Promise<T>): Promise<T> {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'terge-commands-'))
  try {
    return await work(folder)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}
