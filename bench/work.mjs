// The folder that models and outputs go to: gone at the end, however it comes, unless it is to be kept.
import { mkdirSync, readdirSync, rmSync } from 'node:fs'
import path from 'node:path'

/** Calls `work` with the folder. A folder that was there before loses only what came to it. */
export async function inWorkFolder(folder, keep, work) {
  const created = mkdirSync(folder, { recursive: true })
  const before = new Set(readdirSync(folder))
  const clean = () => {
    if (keep) return
    if (created !== undefined) return rmSync(folder, { recursive: true, force: true })
    for (const name of readdirSync(folder))
      if (!before.has(name)) rmSync(path.join(folder, name), { recursive: true, force: true })
  }
  const stop = () => {
    clean()
    process.exit(130)
  }
  for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, stop)
  try {
    await work(folder)
  } finally {
    clean()
  }
}
