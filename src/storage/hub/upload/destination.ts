/**
 * An output on the hub. Large files go to the hub's storage one by one, and one commit makes all files visible together. The
 * commit has a parent, so it fails if somebody else has committed meanwhile.
 */
import { fault } from '../../../core/diagnostics.js'
import { sha256Of, withFile } from '../../remote/bodies.js'
import type { Destination, Earlier, Receipt, UploadFile, UploadOptions, UploadPlan } from '../../remote/upload.js'
import { explained, type HubOutput, hasOutput, headOf, makeMissing, refuseExisting } from './branch.js'
import { commitOutput, commitRemoval } from './commit.js'
import { isHeld, type LfsPlace, sendObject } from './lfs.js'
import { checkRights } from './rights.js'

/** `prefix`: of the output's files in the repository, empty or with a slash at the end. */
export function hubDestination(given: HubOutput & { readonly prefix: string }): Destination {
  const { prefix } = given
  const below = <T extends { readonly name: string }>(one: T): T => ({ ...one, name: `${prefix}${one.name}` })
  const output: HubOutput = { ...given, plan: planBelow(given.plan, prefix) }
  const { settings, reference, repository, branch } = given
  const placeOf = (signal?: AbortSignal): LfsPlace => ({ settings, repository, branch, signal })

  async function begin({ receipts, publishing }: Earlier, signal?: AbortSignal): Promise<void> {
    if (settings.offline)
      throw fault('hub-offline', `${reference}: HF_HUB_OFFLINE forbids uploading`, 'unset HF_HUB_OFFLINE')
    if (settings.token === undefined)
      throw fault('hub-login', `${reference}: uploading needs a token`, 'set HF_TOKEN, or run hf auth login')
    output.head.parent = await headOf(output, 2, signal)
    // A run that was killed while it published may have made its commit.
    const isOwn = publishing && output.head.parent !== undefined && receipts.length > 0
    if (!(isOwn && (await hasOutput(output, output.head.parent!, receipts, [], signal))))
      await refuseExisting(output, 2, signal)
    await explained(output, 2, () => checkRights(settings, repository, output.head.missing !== 'repository', signal))
  }

  const upload = (
    { name, size, path, sha256: known }: UploadFile,
    { signal, progress, note }: UploadOptions = {},
  ): Promise<Receipt> =>
    explained(output, 1, async () => {
      await makeMissing(output, signal)
      const sha256 = known ?? (await sha256Of(path, size, signal))
      await withFile(path, (handle) => sendObject(placeOf(signal), { sha256, size }, handle, progress))
      const receipt: Receipt = { name, size, sha256 }
      await note?.(receipt)
      return receipt
    })

  return {
    reference,
    begin,
    upload,
    holds: async ({ sha256, size }, signal) =>
      sha256 !== undefined &&
      explained(output, 1, async () => {
        await makeMissing(output, signal)
        return isHeld(placeOf(signal), { sha256, size })
      }),
    async has(receipts, small, signal) {
      const head = await headOf(output, 2, signal)
      return head !== undefined && hasOutput(output, head, receipts.map(below), small.map(below), signal)
    },
    publish: (receipts, small, signal) =>
      explained(output, 1, async () => {
        await makeMissing(output, signal)
        return commitOutput(output, placeOf(signal), receipts.map(below), small.map(below))
      }),
    remove: (signal) => explained(output, 1, () => commitRemoval(output, signal)),
    // Objects without a commit are not visible, and the hub removes them. It has no request for that.
    abort: async () => {},
  }
}

const planBelow = (plan: UploadPlan, prefix: string): UploadPlan => ({
  ...plan,
  files: plan.files.map((name) => `${prefix}${name}`),
  small: plan.small.map((name) => `${prefix}${name}`),
  lineage: `${prefix}${plan.lineage}`,
  belongs: (name) => name.startsWith(prefix) && plan.belongs(name.slice(prefix.length)),
})
