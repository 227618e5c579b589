/** Where the parts of a run meet, and what leaves the machine of a part. */
import path from 'node:path'
import { fault } from '../../core/diagnostics.js'
import { addressIn } from '../../core/names/fileNames.js'
import { addressText, outputAddress } from '../../language/addresses.js'
import type { Plan } from '../../plan/types.js'
import { folderPlace } from '../../storage/local/shared/folder.js'
import type { MeetingPlace } from '../../storage/meeting/types.js'
import { addressOf } from '../destinations/places.js'
import type { Prepared } from '../plan.js'

/** The place: the given folder or prefix of a store, or a folder beside the first output. Errors: `bad-value`, `missing-flag`. */
export async function meetingPlace({ plan, bindings }: Prepared, work: string | undefined): Promise<MeetingPlace> {
  const [first] = bindings.outputs
  const store = storeOf(work, plan.outputs)
  if (store) {
    const { openS3Meeting } = await import('../../storage/s3/meeting/place.js')
    return openS3Meeting(store)
  }
  if (work !== undefined) return folderPlace(path.resolve(work))
  return folderPlace(path.join(path.dirname(first!), `.terge.parts-${path.basename(first!)}`))
}

/**
 * The store where parts meet; undefined for a folder. Machines must know where to meet if the first output is elsewhere. Errors:
 * `missing-flag`, `bad-value`.
 */
export function storeOf(
  work: string | undefined,
  outputs: readonly { readonly path: string }[],
): { readonly reference: string; readonly bucket: string; readonly prefix: string } | undefined {
  const first = outputAddress(outputs[0]!.path)
  if (work === undefined && first)
    throw fault(
      'missing-flag',
      `parts of an output at ${addressText(first)} need --work`,
      'write --work with a folder that all machines share, or with s3://bucket/prefix',
    )
  if (work === undefined || addressIn(work) === undefined) return undefined
  const bad = (what: string, hint: string) => fault('bad-value', `--work ${work}: ${what}`, hint)
  const address = outputAddress(withoutSlash(work))
  if (address?.kind !== 's3')
    throw bad(
      'parts meet in a folder or in an S3 store',
      'write a folder that all machines share, or s3://bucket/prefix',
    )
  const { bucket, key } = address
  if (key === '') throw bad('the prefix is missing', 'write s3://bucket/prefix with a prefix that nothing else uses')
  const reference = addressText(address)
  if (outputs.some((output) => withoutSlash(output.path) === reference))
    throw bad('is an output of the recipe', 'choose a prefix that nothing else uses')
  return { reference, bucket, prefix: `${key}/` }
}

/** Many tools write a slash at the end of a prefix. */
const withoutSlash = (address: string): string => address.replace(/(?<=[^/])\/$/, '')

/** Outputs whose files leave the machine of a part. The same for all parts and for the end of the run. */
export interface Leaving {
  /** Whole files, which parts upload to the addresses of these outputs. */
  readonly uploaded: ReadonlySet<number>
  /** All that leave: the others in pieces, to the place where parts meet. */
  readonly all: ReadonlySet<number>
}

/**
 * Parts upload an output if there is at least a file for each part that works on it, so that all have something to do. A command that
 * evaluates an output needs all of it on one machine.
 */
export function leavingOutputs({ outputs }: Plan, of: number, { folder }: MeetingPlace): Leaving {
  const bytes = outputs.map(({ files }) => files.reduce((sum, { size }) => sum + size, 0))
  const total = bytes.reduce((sum, one) => sum + one, 0)
  const uploaded = new Set<number>()
  for (const [index, output] of outputs.entries()) {
    const isEnough = output.files.length * total >= of * bytes[index]!
    if (addressOf(output) && output.keep && !output.evaluate && isEnough) uploaded.add(index)
  }
  return { uploaded, all: folder === undefined ? new Set(outputs.keys()) : uploaded }
}
