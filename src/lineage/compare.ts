import type { Checkpoint } from '../checkpoints/types.js'
import type { ErrorCode } from '../core/codes.js'
import { naturalOrder } from '../core/collections/naturalOrder.js'
import type { Diagnostic } from '../core/diagnostics.js'
import { agree, plural } from '../core/words.js'
import type { CheckpointDigests } from './digestCheckpoint.js'
import type { Lineage, LineageFile } from './types.js'

export type Report = (code: ErrorCode, message: string, severity?: Diagnostic['severity'], hint?: string) => void

/** A message lists at most so many names. */
const SHOWN = 10

export function listOf(names: readonly string[]): string {
  const shown = [...names].sort(naturalOrder).slice(0, SHOWN).join(', ')
  return names.length <= SHOWN ? shown : `${shown} and ${names.length - SHOWN} more`
}

/** Reports the tensors of an output's file that differ. `found`: the digests of that file. */
export function compareOutput(
  lineage: Pick<Lineage, 'tensors'>,
  expected: LineageFile,
  found: CheckpointDigests,
  report: Report,
): void {
  if (found.files[0] === expected.digest) return
  const { tensors } = lineage
  const changed: string[] = []
  const unknown: string[] = []
  for (const [name, digest] of found.tensors) {
    if (!Object.hasOwn(tensors, name)) unknown.push(name)
    else if (tensors[name]!.digest !== digest) changed.push(name)
  }
  const parts = [
    ...(changed.length > 0
      ? [
          `${changed.length} of ${plural(found.tensors.size, 'tensor')} ${agree(changed.length, 'differs', 'differ')}: ${listOf(changed)}`,
        ]
      : []),
    ...(unknown.length > 0
      ? [
          `${plural(unknown.length, 'tensor')} ${agree(unknown.length, 'is', 'are')} not in the lineage: ${listOf(unknown)}`,
        ]
      : []),
  ]
  if (parts.length === 0) parts.push('only the header differs from the lineage')
  report('output-digest', `${expected.name}: ${parts.join('; ')}`)
}

/** Reports files of an input that differ. `files`: those with tensors; a lineage has no digests of their tensors. */
export function compareInput(
  shown: string,
  files: readonly LineageFile[],
  checkpoint: Pick<Checkpoint, 'files' | 'layout'>,
  found: CheckpointDigests,
  report: Report,
): void {
  const digests = new Map(checkpoint.files.map(({ name }, index) => [name, found.files[index]]))
  for (const { name, digest } of files)
    if (digest !== null && digests.get(name) !== digest)
      report(
        'input-digest',
        `${checkpoint.layout === 'file' ? shown : `${shown}: ${name}`} differs from the recorded file`,
      )
}
