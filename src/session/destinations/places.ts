/** Where outputs that are not on this machine are made: in a local folder, until they are uploaded. */
import { createHash } from 'node:crypto'
import path from 'node:path'
import { fault } from '../../core/diagnostics.js'
import { addressIn } from '../../core/names/fileNames.js'
import {
  addressBelow,
  addressBeside,
  addressText,
  type OutputAddress,
  outputAddress,
} from '../../language/addresses.js'
import type { Plan, PlanOutput } from '../../plan/types.js'
import { workRoot } from '../../storage/local/cacheRoot.js'
import type { Digests } from '../sums/digests.js'

/** The address of an output; undefined if it is on this machine. */
export const addressOf = (output: PlanOutput): OutputAddress | undefined => outputAddress(output.path)

/** The folder of `work`. Error: `bad-value` for an address. */
function workPath(work: string): string {
  if (addressIn(work) === undefined) return path.resolve(work)
  throw fault(
    'bad-value',
    `--work ${work}: a work folder must be on a file system`,
    'write the path of a folder; only runs in parts (--part, --finish) can meet in an S3 store',
  )
}

/** The local path of an output on its way to an address. Equal for runs of any recipe that writes there. */
export function stagingPlace(address: OutputAddress, layout: PlanOutput['layout'], work = workRoot()): string {
  const text = addressText(address)
  const digest = createHash('sha256').update(text).digest('hex').slice(0, 16)
  // The lineage of a single file has its name.
  const name = layout === 'file' ? address.name : address.name.replace(/[^\w.-]/g, '_').replace(/^\.+/, '')
  return path.join(workPath(work), digest, name || 'model')
}

/** The local paths of outputs, with those that are uploaded in a folder of the user. */
export const withWork = ({ outputs }: Plan, places: readonly string[], work: string | undefined): string[] =>
  outputs.map((output, index) => {
    const address = addressOf(output)
    return address ? stagingPlace(address, output.layout, work) : places[index]!
  })

/** Where the lineage of an output is for the user, given its local path: beside the output, at its address or on this machine. */
export function shownLineage(output: PlanOutput, local: string): string {
  const address = addressOf(output)
  if (!address) return local
  const name = path.basename(local)
  if (output.layout === 'file') return addressBeside(address, name)
  return address.key === '' ? `${addressText(address)}/${name}` : addressBelow(address, name)
}

/** Where an output is for the user: its address, or its path. */
export const shownPlace = (output: PlanOutput, local: string): string => {
  const address = addressOf(output)
  return address ? addressText(address) : local
}

/**
 * The outputs whose files can leave this machine before the end. An `evaluate` command needs the whole output. Without digests, nothing
 * proves later what was in a file.
 */
export function earlyOutputs(
  { outputs }: Plan,
  { commands, digests = 'full' }: { commands: boolean; digests?: Digests },
): Set<number> {
  const early = [...outputs.entries()].filter(
    ([, output]) => output.keep && addressOf(output) && !(commands && output.evaluate) && digests !== 'none',
  )
  return new Set(early.map(([index]) => index))
}

/** Notes about outputs that are uploaded at the end although the disk is limited. */
export const lateUploads = ({ outputs }: Plan, early: ReadonlySet<number>): string[] =>
  outputs.flatMap((output, index) => {
    const address = addressOf(output)
    if (!address || early.has(index)) return []
    const why = output.evaluate ? 'its evaluate command' : '--digests none'
    return [`--disk does not limit ${addressText(address)}: ${why} needs the whole output here until the end`]
  })
