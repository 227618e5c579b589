/** Opens the places of outputs that are not on this machine. */
import path from 'node:path'
import { isIndex } from '../../checkpoints/containers/index.js'
import { isCode, isLicence, isSidecar, isWeights } from '../../checkpoints/sidecarNames.js'
import { lineageName } from '../../execute/outputs.js'
import { addressText, type OutputAddress } from '../../language/addresses.js'
import type { PlanOutput } from '../../plan/types.js'
import type { Destination, UploadPlan } from '../../storage/remote/upload.js'

/** The object that is written last into the folder of an output in a store. */
const MARKER = '_SUCCESS'
const CARD = 'README.md'

/** Names of the small files of an output that is uploaded: in the order in which they appear, the lineage last. */
export function smallNames({ layout, indexes, sidecars }: PlanOutput, address: OutputAddress): string[] {
  const names = [...indexes, ...sidecars].map(({ name }) => name)
  return [...names, ...(layout === 'folder' ? [CARD] : []), lineageName(layout, address.name)]
}

/** Names of the files with tensors, as they are at the address. */
export const weightNames = ({ layout, files }: PlanOutput, address: OutputAddress): string[] =>
  files.map(({ name }) => (layout === 'file' ? address.name : name))

function uploadPlan(output: PlanOutput, address: OutputAddress, force: boolean): UploadPlan {
  const files = weightNames(output, address)
  const small = smallNames(output, address)
  const folders = new Set(['.', ...[...files, ...small].map((name) => path.posix.dirname(name))])
  return {
    ...{ files, small, force },
    lineage: small.at(-1)!,
    belongs: (name) => folders.has(path.posix.dirname(name)) && isOfModel(path.posix.basename(name)),
  }
}

/** Whether a file must not stay beside another model. Licences, notes and code are kept. */
const isOfModel = (name: string): boolean =>
  isWeights(name) ||
  isIndex(name) ||
  name === 'config.json' ||
  name === 'lineage.json' ||
  (isSidecar(name) && !isLicence(name) && !isCode(name))

/** Errors: those of the settings, such as `bad-environment` and `s3-credentials`. */
export async function openDestination(
  output: PlanOutput,
  address: OutputAddress,
  { force, notice }: { readonly force: boolean; readonly notice: (message: string) => void },
): Promise<Destination> {
  const plan = uploadPlan(output, address, force)
  const reference = addressText(address)
  if (address.kind === 'hub') {
    const { repository, branch } = address
    const [{ hubSettings }, { hubDestination }] = await Promise.all([
      import('../../storage/hub/settings.js'),
      import('../../storage/hub/upload/destination.js'),
    ])
    return hubDestination({ settings: hubSettings(), reference, repository, branch, plan, notice })
  }
  const { bucket, key } = address
  const [{ s3Settings }, { s3Destination }] = await Promise.all([
    import('../../storage/s3/settings.js'),
    import('../../storage/s3/upload/destination.js'),
  ])
  const folder = output.layout === 'file' ? path.posix.dirname(key).replace(/^\.$/, '') : key
  const prefix = folder === '' ? '' : `${folder}/`
  const settings = await s3Settings()
  return s3Destination({
    ...{ settings, reference, bucket, prefix, plan },
    ...(output.layout === 'folder' ? { marker: MARKER } : {}),
  })
}
