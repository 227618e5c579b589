/** Small files that a run writes next to its outputs. */
import { open, rm } from 'node:fs/promises'
import path from 'node:path'
import { attempt } from '../../core/system/attempt.js'
import { flush, flushHandle, move } from '../../core/system/disk.js'

/** Writes or replaces a file atomically: no reader sees a part of it. Error: `cannot-write`. */
export const replaceFile = (file: string, content: string | Uint8Array, sync: boolean): Promise<void> =>
  attempt(file, 1, async () => {
    const fresh = path.join(path.dirname(file), `.${path.basename(file)}.${process.pid}`)
    try {
      // Removed and created, so that a link under this name is not followed.
      await rm(fresh, { force: true })
      const handle = await open(fresh, 'wx')
      try {
        await handle.writeFile(content)
        if (sync) await flushHandle(handle)
      } finally {
        await handle.close()
      }
      await move(fresh, file)
    } catch (error) {
      await rm(fresh, { force: true })
      throw error
    }
    if (sync) await flush(path.dirname(file))
  })
