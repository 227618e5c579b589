/** Files of outputs that several processes write together. */
import { mkdir, statfs } from 'node:fs/promises'
import path from 'node:path'
import { fault } from '../../../core/diagnostics.js'
import { formatSize } from '../../../core/sizes.js'
import { attempt } from '../../../core/system/attempt.js'
import { flush } from '../../../core/system/disk.js'
import { placeOf } from '../recover.js'
import type { StagedFile, Staging } from '../staging.js'
import { statusOf } from '../workFolder.js'
import { openCommon } from './folder.js'

/** An output whose files are in `files`, a folder that other processes use as well. Nobody publishes it from there. */
export const sharedStaging = (output: string, kind: Staging['kind'], files: string): Staging => ({
  ...placeOf(output, kind),
  files,
  ...{ replace: false, existing: false, resumed: true, shared: true },
  irreplaceable: async () => undefined,
  step: () => {},
})

/**
 * Gives files their size and their header. All processes do this with the same files: each change is one that others can make before,
 * after or at the same time. Data that another process has written stay. Errors: `disk-full`, `foreign-work-folder`, `cannot-write`.
 */
export async function preallocateShared(
  { files: folder, output }: Staging,
  files: readonly StagedFile[],
): Promise<void> {
  await attempt(output, 2, async () => {
    await makeReal(folder)
    let wanted = 0
    for (const { name, size } of files) {
      const entry = await statusOf(path.join(folder, name))
      wanted += Math.max(0, size - (entry ? Number(entry.blocks) * 512 : 0))
    }
    const disk = await statfs(folder).catch(() => undefined)
    if (disk && disk.blocks > 0 && disk.bavail * disk.bsize < wanted)
      throw fault(
        'disk-full',
        `${folder}: needs ${formatSize(wanted)}, but the disk has ${formatSize(disk.bavail * disk.bsize)} left`,
        'free some space, or choose another disk with --work',
      )
    for (const { name, size, header } of files) {
      await makeReal(path.join(folder, path.posix.dirname(name)))
      const handle = await openCommon(path.join(folder, name))
      if (!handle) throw foreign(path.join(folder, name))
      try {
        const now = (await handle.stat()).size
        if (now > size) throw foreign(path.join(folder, name))
        // Never shorter: another process can have written beyond.
        if (now < size) await handle.truncate(size)
        await handle.write(header, 0, header.length, 0)
      } finally {
        await handle.close()
      }
    }
  })
}

/** Makes a folder, and refuses a link in its place. */
async function makeReal(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true })
  const entry = await statusOf(folder)
  const user = process.geteuid?.()
  if (!entry?.isDirectory() || (user !== undefined && entry.uid !== BigInt(user))) throw foreign(folder)
}

const foreign = (file: string) =>
  fault(
    'foreign-work-folder',
    `${file}: is not what terge writes there, so terge does not use this work folder`,
    'check what it is, remove or rename it, or choose another folder with --work, then run again',
  )

/** Calls fsync for files that were written. */
export const flushFiles = (folder: string, names: readonly string[]): Promise<void> =>
  attempt(folder, 1, async () => {
    for (const name of names) await flush(path.join(folder, name))
  })
