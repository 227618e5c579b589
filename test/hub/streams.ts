/** Helpers of the tests of runs that fetch their inputs a few files at a time. */
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import path from 'node:path'
import * as assert from 'uvu/assert'
import type { Hub } from './server.js'

/** What a bench of the hub and one of S3 have in common. */
interface AnyBench {
  readonly env: NodeJS.ProcessEnv
}

/** The bytes of whole files that were sent, by path. */
export function wholeFiles({ seen }: Hub): Map<string, number> {
  const sent = new Map<string, number>()
  for (const { server, url, range, sent: bytes } of seen)
    if (server === 'storage' && /^bytes=\d+-$/.test(range ?? 'bytes=0-')) {
      const name = new URL(url, 'http://x').pathname
      sent.set(name, (sent.get(name) ?? 0) + bytes)
    }
  return sent
}

/** The most bytes of weights that were in the folders of runs while `work` ran. */
export async function peakOf({ env }: AnyBench, work: () => Promise<void>): Promise<number> {
  const root = path.join(env.TERGE_CACHE!, 'work')
  let peak = 0
  const timer = setInterval(() => {
    let bytes = 0
    for (const name of existsSync(root) ? readdirSync(root, { recursive: true, encoding: 'utf8' }) : []) {
      const entry = statSync(path.join(root, name), { throwIfNoEntry: false })
      if (entry?.isFile()) bytes += entry.size
    }
    peak = Math.max(peak, bytes)
  }, 5)
  try {
    await work()
  } finally {
    clearInterval(timer)
  }
  return peak
}

export const same = (folder: string, a: string, b: string): void => {
  for (const name of ['model.safetensors', 'config.json', 'lineage.json'])
    assert.ok(readFileSync(path.join(folder, a, name)).equals(readFileSync(path.join(folder, b, name))), name)
}

/** Does work in this process with the environment of a bench. */
export async function within<T>({ env }: AnyBench, work: () => Promise<T>): Promise<T> {
  const before = Object.fromEntries(Object.keys(env).map((name) => [name, process.env[name]]))
  Object.assign(process.env, env)
  try {
    return await work()
  } finally {
    for (const [name, value] of Object.entries(before))
      if (value === undefined) delete process.env[name]
      else process.env[name] = value
  }
}
