/** Runs of the command that are ended, or fail, at the k-th system call that opens or changes something in their folder. */
import { execFileSync, spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { BIN, plainEnv } from '../support/terge.js'

const SOURCE = fileURLToPath(new URL('../../../test/support/failAt.c', import.meta.url))

/** `kill`: the process ends. `EIO`: one call fails. `DEAD`: that and all later ones. `ENOSPC`: from then on those that need room. */
export type How = 'kill' | 'EIO' | 'DEAD' | 'ENOSPC'

export interface Shim {
  run(folder: string, args: readonly string[], fails?: { at: number; how: How }): Promise<Outcome>
  remove(): void
}

export interface Outcome {
  /** Null of a process that was killed. */
  readonly code: number | null
  readonly err: string
  /** Names of the calls that were counted. */
  readonly calls: readonly string[]
}

/** The shim, built here; undefined where it can't be: no Linux, or no compiler. */
export function buildShim(): Shim | undefined {
  if (process.platform !== 'linux') return undefined
  const own = mkdtempSync(path.join(os.tmpdir(), 'terge-shim-'))
  const library = path.join(own, 'failAt.so')
  try {
    execFileSync('cc', ['-shared', '-fPIC', '-O1', '-o', library, SOURCE, '-ldl'], { stdio: 'ignore' })
  } catch {
    rmSync(own, { recursive: true })
    return undefined
  }
  let count = 0
  return {
    remove: () => rmSync(own, { recursive: true }),
    async run(folder, args, fails) {
      const log = path.join(own, `calls-${count++}`)
      const child = spawn(process.execPath, [BIN, ...args], {
        cwd: folder,
        env: {
          ...plainEnv,
          LD_PRELOAD: library,
          FAIL_ROOT: folder,
          FAIL_LOG: log,
          ...(fails ? { FAIL_AT: String(fails.at), FAIL_HOW: fails.how } : {}),
        },
        stdio: ['ignore', 'ignore', 'pipe'],
      })
      let err = ''
      child.stderr.on('data', (text) => (err += text))
      const code = await new Promise<number | null>((resolve) => child.on('close', resolve))
      const calls = existsSync(log) ? readFileSync(log, 'utf8').trimEnd().split('\n') : []
      rmSync(log, { force: true })
      return { code, err, calls }
    },
  }
}
