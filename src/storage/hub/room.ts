import { statfs } from 'node:fs/promises'
import { type ExitCode, fault } from '../../core/diagnostics.js'
import { formatSize } from '../../core/sizes.js'
import type { HubSettings } from './settings.js'

/** Checks the free space on the disk of the cache before a download. Error: `disk-full`. */
export async function refuseNoRoom(
  settings: HubSettings,
  folder: string,
  bytes: number,
  exit: ExitCode,
): Promise<void> {
  const disk = await statfs(folder).catch(() => undefined)
  if (!disk || disk.blocks === 0 || disk.bavail * disk.bsize >= bytes) return
  throw fault(
    'disk-full',
    `the download needs ${formatSize(bytes)}, but the disk of the cache ${settings.cache} has ${formatSize(disk.bavail * disk.bsize)} left`,
    'free space there, or set HF_HOME to another disk',
    exit,
  )
}
