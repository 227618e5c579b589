/** Places for outputs that are not on this machine. */
import { addressIn } from '../core/names/fileNames.js'
import { hubParts, s3Parts, s3Problem } from './names.js'

/**
 * A place in a branch of a repository on the hub, or in an S3 store. `key`: the place in it, with slashes; on the hub, only points of an
 * interpolation have one.
 */
export type OutputAddress =
  | {
      readonly kind: 'hub'
      readonly repository: string
      readonly branch: string
      readonly key: string
      readonly name: string
    }
  | { readonly kind: 's3'; readonly bucket: string; readonly key: string; readonly name: string }

const BRANCH = 'main'

/** The address of an output; undefined for paths, and for addresses that terge does not write to. */
export function outputAddress(written: string): OutputAddress | undefined {
  const hub = hubParts(written)
  if (hub) {
    const { repository, revision = BRANCH } = hub
    // Names of branches have no colon.
    const [, branch, key = ''] = /^([^:]*)(?::(.*))?$/.exec(revision)!
    const name = (key || repository).slice((key || repository).lastIndexOf('/') + 1)
    return { kind: 'hub', repository, branch: branch!, key, name }
  }
  const s3 = s3Parts(written)
  return s3 && { kind: 's3', ...s3, name: s3.key.slice(s3.key.lastIndexOf('/') + 1) || s3.bucket }
}

/** An address in its full form: equal for equal places. */
export const addressText = (address: OutputAddress): string =>
  address.kind === 'hub'
    ? `hf:${address.repository}@${address.branch}${address.key === '' ? '' : `:${address.key}`}`
    : `s3://${address.bucket}${address.key === '' ? '' : `/${address.key}`}`

/** The address of a file or a folder in a folder. */
export const addressBelow = (address: OutputAddress, name: string): string =>
  `${addressText(address)}${address.kind === 'hub' && address.key === '' ? ':' : '/'}${name}`

/** The address of another file in the folder of a file. */
export const addressBeside = (file: OutputAddress, name: string): string =>
  `${addressText(file).slice(0, -file.name.length)}${name}`

/** Why something cannot be written to an address; undefined if it can, and for paths. */
export function refusedAddress(written: string): { readonly problem: string; readonly hint: string } | undefined {
  const scheme = addressIn(written)
  if (scheme === undefined) return undefined
  const address = outputAddress(written)
  if (!address) {
    if (scheme === 'hf:') return { problem: 'is not a hub reference', hint: 'write hf:org/name or hf:org/name@branch' }
    if (scheme === 's3://') return s3Problem(written)
    const hint = 'write a path, hf:org/name or s3://bucket/prefix, or upload the result with the tool of that service'
    return { problem: `terge writes local files and folders, to the hub and to S3 stores, not to ${scheme}`, hint }
  }
  if (address.kind === 's3') return undefined
  const branch = address.key === '' ? address.branch : `${address.branch}:${address.key}`
  if (/^[0-9a-f]{40}$/.test(branch) || !isBranch(branch))
    return { problem: `'${branch}' is not a branch`, hint: 'write the name of a branch, such as main' }
  return undefined
}

/** What git accepts as the name of a branch, without references of other kinds. */
const isBranch = (name: string): boolean =>
  !name.startsWith('refs/') &&
  !/[\s~^:?*[\\\u0000-\u0020\u007f]|\.\.|@\{|\/\/|^[-/.]|[/.]$|\.lock(?:\/|$)|\/\./.test(name)
