/** The SHA-256 of files that do not change while they are needed: each file is hashed once. */
import { stat } from 'node:fs/promises'
import { formatSize } from '../../core/sizes.js'
import { byteProgress } from '../byteProgress.js'
import type { Listener } from '../events.js'
import { type HasherOptions, openHasher, type Within } from './hasher.js'

export interface Sums {
  /** `sha256:…` of a file. `within`: where links may lead. Errors: those of `Hasher.sum`. */
  of(file: string, within?: Within): Promise<string>
  /** Begins to hash a file, while its bytes are in memory. An error is that of a later `of`. */
  begin(file: string): void
  /** Something else has hashed a file. */
  know(file: string, sum: string): void
  /** Waits until these files are hashed, with progress. An error is that of a later `of`. */
  settle(files: readonly string[], listen: Listener | undefined): Promise<void>
  close(): Promise<void>
}

/** In bytes: less is hashed before anybody could read of it. */
const SHOWN = 8 * 2 ** 20
/** Milliseconds between reports. */
const EVERY = 100

export function openSums(options: HasherOptions): Sums {
  const hasher = openHasher(options)
  const sums = new Map<string, Promise<string>>()
  /** Bytes of files that were begun. */
  const done = new Map<string, number>()
  const of: Sums['of'] = (file, within) => {
    const known = sums.get(file)
    if (known) return known
    const sum = hasher.sum(file, within, (bytes) => done.set(file, bytes))
    // Who waits for it gets the error.
    sum.catch(() => {})
    sums.set(file, sum)
    return sum
  }
  return {
    of,
    begin: (file) => void of(file),
    know: (file, sum) => void sums.set(file, Promise.resolve(sum)),
    async settle(files, listen) {
      const sizes = await Promise.all(files.map(async (file) => (await stat(file).catch(() => undefined))?.size ?? 0))
      const ends = new Set<string>()
      const total = sizes.reduce((all, size) => all + size, 0)
      const text = `hashing ${files.length === 1 ? '1 file' : `${files.length} files`}, ${formatSize(total)}`
      const heard = total >= SHOWN ? listen : undefined
      const progress = byteProgress(heard, 'sha256', total)
      let told = 0
      const tell = (): void => {
        const now = files.reduce(
          (all, file, index) => all + (ends.has(file) ? sizes[index]! : (done.get(file) ?? 0)),
          0,
        )
        if (now > told) progress.add(now - told, text)
        told = Math.max(told, now)
      }
      const timer = heard && setInterval(tell, EVERY)
      try {
        await Promise.all(
          files.map(async (file) => {
            await of(file).catch(() => {})
            ends.add(file)
          }),
        )
      } finally {
        clearInterval(timer)
      }
      progress.end(text)
    },
    close: hasher.close,
  }
}
