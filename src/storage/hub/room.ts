import { statfs } from 'node:fs/promises'
import { type ExitCode, fault } from '../../core/diagnostics.js'
import { formatSize } from '../../core/sizes.js'
import type { HubSettings } from './settings.js'

/** Errors before the first byte where the disk of the cache has no room for the last: `disk-full`. */
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
    `${formatSize(bytes)} are to be fetched, and the disk of the cache ${settings.cache} has room for ${formatSize(disk.bavail * disk.bsize)}`,
    'free space there, or set HF_HOME to another disk',
    exit,
  )
}
