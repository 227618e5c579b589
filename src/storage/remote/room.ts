import { statfs } from 'node:fs/promises'
import { type ExitCode, fault } from '../../core/diagnostics.js'
import { formatSize } from '../../core/sizes.js'
import type { Cache } from './types.js'

/** Checks the free space on the disk of the cache before a download. Error: `disk-full`. */
export async function refuseNoRoom(cache: Cache, folder: string, bytes: number, exit: ExitCode): Promise<void> {
  const disk = await statfs(folder).catch(() => undefined)
  if (!disk || disk.blocks === 0 || disk.bavail * disk.bsize >= bytes) return
  throw fault(
    'disk-full',
    `the download needs ${formatSize(bytes)}, but the disk of the cache ${cache.folder} has ${formatSize(disk.bavail * disk.bsize)} left`,
    `free space there, or set ${cache.variable} to another disk`,
    exit,
  )
}
