/** Opens the places of outputs that are not on this machine. */
import path from 'node:path'
import { isIndex } from '../../checkpoints/containers/index.js'
import { isCode, isLicence, isSidecar, isWeights } from '../../checkpoints/sidecarNames.js'
import { checksumsName, lineageName } from '../../execute/outputs.js'
import { addressText, type OutputAddress } from '../../language/addresses.js'
import type { PlanOutput } from '../../plan/types.js'
import type { HubHead } from '../../storage/hub/upload/head.js'
import type { Destination, UploadPlan } from '../../storage/remote/upload.js'
import type { S3Output } from '../../storage/s3/upload/output.js'

/** The object that is written last into the folder of an output in a store. */
const MARKER = '_SUCCESS'
const CARD = 'README.md'

/** Names of the small files of an output that is uploaded: in the order in which they appear, the lineage last. */
export function smallNames(
  { layout, indexes, sidecars, keep, checksums }: PlanOutput,
  address: OutputAddress,
): string[] {
  if (!keep) return [lineageName(layout, address.name)]
  const names = [...indexes, ...sidecars].map(({ name }) => name)
  return [
    ...names,
    ...(layout === 'folder' ? [CARD] : []),
    ...(checksums ? [checksumsName(layout, address.name)] : []),
    lineageName(layout, address.name),
  ]
}

/** Names of the files with tensors, as they are at the address. */
export const weightNames = ({ layout, files, keep }: PlanOutput, address: OutputAddress): string[] =>
  (keep ? files : []).map(({ name }) => (layout === 'file' ? address.name : name))

function uploadPlan(output: PlanOutput, address: OutputAddress, force: boolean): UploadPlan {
  const files = weightNames(output, address)
  const small = smallNames(output, address)
  const folders = new Set(['.', ...[...files, ...small].map((name) => path.posix.dirname(name))])
  const isOf = (name: string): boolean => isOfModel(name) || (!output.keep && (name === MARKER || name === CARD))
  return {
    ...{ files, small, force },
    lineage: small.at(-1)!,
    belongs: (name) => folders.has(path.posix.dirname(name)) && isOf(path.posix.basename(name)),
  }
}

/** Whether a file must not stay beside another model. Licences, notes and code are kept. */
const isOfModel = (name: string): boolean =>
  isWeights(name) ||
  isIndex(name) ||
  name === 'config.json' ||
  name === 'lineage.json' ||
  name === checksumsName('folder', '') ||
  (isSidecar(name) && !isLicence(name) && !isCode(name))

/** What the branches of the outputs were, and are after own commits, by repository and branch. */
export type HubHeads = Map<string, HubHead>

export interface OpenOptions {
  /** Whether what is there may be replaced. */
  readonly force: boolean
  readonly notice: (message: string) => void
  /** Of all outputs of a run. */
  readonly heads?: HubHeads
}

/** Errors: those of the settings, such as `bad-environment` and `s3-credentials`. */
export function openDestination(
  output: PlanOutput,
  address: OutputAddress,
  options: OpenOptions,
): Promise<Destination> {
  const { layout, keep } = output
  const folder = layout === 'file' ? path.posix.dirname(address.key).replace(/^\.$/, '') : address.key
  return openFolder(address, folder, uploadPlan(output, address, options.force), options, {
    ...(layout === 'folder' && keep ? { marker: MARKER } : {}),
    amongOthers: layout === 'file',
  })
}

/** The place of small files in the folder of an address. */
export function openSmall(
  address: OutputAddress,
  names: readonly string[],
  options: OpenOptions,
): Promise<Destination> {
  const plan = { files: [], small: names, lineage: names.at(-1)!, force: options.force, belongs: () => false }
  return openFolder(address, address.key, plan, options, { amongOthers: true })
}

/** `form`: of an output in a store. */
async function openFolder(
  address: OutputAddress,
  folder: string,
  plan: UploadPlan,
  { notice, heads = new Map() }: OpenOptions,
  form: Pick<S3Output, 'marker' | 'amongOthers'>,
): Promise<Destination> {
  const reference = addressText(address)
  const prefix = folder === '' ? '' : `${folder}/`
  if (address.kind === 'hub') {
    const { repository, branch } = address
    const key = `${repository}@${branch}`
    const head = heads.get(key) ?? {}
    heads.set(key, head)
    const [{ hubSettings }, { hubDestination }] = await Promise.all([
      import('../../storage/hub/settings.js'),
      import('../../storage/hub/upload/destination.js'),
    ])
    return hubDestination({ settings: hubSettings(), reference, repository, branch, prefix, plan, head, notice })
  }
  const { bucket } = address
  const [{ s3Settings }, { s3Destination }] = await Promise.all([
    import('../../storage/s3/settings.js'),
    import('../../storage/s3/upload/destination.js'),
  ])
  const settings = await s3Settings()
  return s3Destination({
    ...{ settings, reference, bucket, prefix, plan },
    ...form,
  })
}
