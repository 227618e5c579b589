/** Models that are not on this machine: what the places for them have in common. */
import { mkdir } from 'node:fs/promises'
import { type Diagnostic, type Fault, fault } from '../../core/diagnostics.js'
import type { Cache, Fetch } from '../../storage/remote/types.js'
import type { FolderContainer } from '../containers/types.js'
import type { Checkpoint } from '../types.js'

export interface RemoteModel {
  /** Its file paths are in the cache, even for files that are not downloaded yet. */
  readonly checkpoint: Checkpoint
  readonly fetches: readonly Fetch[]
  readonly warnings: readonly Diagnostic[]
}

/** Makes the folder of a model in the cache. Error: `write-failed`. */
export async function makeCached(folder: string, { folder: cache, variable }: Cache): Promise<void> {
  await mkdir(folder, { recursive: true }).catch((error: NodeJS.ErrnoException) => {
    throw fault(
      'write-failed',
      `the cache ${cache} cannot be written: ${error.code}`,
      `set ${variable} to a writable folder`,
    )
  })
}

/** Each part of each tensor has a header of its own: too many ranges to ask for. */
export const inParts = ({ described }: FolderContainer, reference: string, command: string): Fault =>
  fault(
    'unsupported-format',
    `${reference}: ${described}, which terge reads only if it is completely on this machine`,
    `download it (${command}) and write the path of that folder`,
  )
