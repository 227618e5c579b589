/** The files of signatures and keys: where they are, and what they sign. */
import path from 'node:path'
import { withoutExtension } from '../../checkpoints/containers/index.js'
import { MODEL_SIG } from '../../checkpoints/sidecarNames.js'
import { fault } from '../../core/diagnostics.js'
import { readText } from '../../lineage/disk.js'
import { checkedPayload, parseBundle } from '../../signing/bundle.js'
import { payloadByCertificate, trustedCertificates } from '../../signing/certificates.js'
import type { SignedModel } from '../../signing/files.js'
import { publicKeyOf } from '../../signing/keys.js'
import type { Trust } from './trust.js'

/** Signatures of other statements about a model in the same folder. */
export const ATTESTATION = 'provenance.sig'
/** In bytes: more than keys and certificates need. */
const MOST_KEY = 2 ** 20
/** In bytes: a manifest with hundreds of thousands of files. */
export const MOST_BUNDLE = 64 * 2 ** 20

/** Where the signed provenance of a model is. */
export const attestationOf = ({ place, isFile }: SignedModel): string =>
  isFile ? `${withoutExtension(place)}.${ATTESTATION}` : path.join(place, ATTESTATION)

/** Where the signature of a model is. */
export const signatureOf = ({ place, isFile }: SignedModel): string =>
  isFile ? `${withoutExtension(place)}.sig` : path.join(place, MODEL_SIG)

export async function textOf(file: string, most: number, missing: () => unknown): Promise<string> {
  const text = await readText(file, most)
  if (text === undefined) throw missing()
  return text
}

export const keyText = (file: string): Promise<string> =>
  textOf(file, MOST_KEY, () =>
    fault('bad-signing-key', `${file}: there is no such file`, 'give the path of a key in PEM'),
  )

/** The text of a signature. Error: `missing-signature`. */
export const bundleAt = (place: string, shown: string, hint: string): Promise<string> =>
  textOf(place, MOST_BUNDLE, () => fault('missing-signature', `${shown} has no signature: there is no ${place}`, hint))

const BOTH = 'give --key or --certificate'

/** The signed payload of a bundle, after its signature was checked. Error: `bad-signature`. */
export async function payloadIn(text: string, { key, certificate }: Trust, shown: string): Promise<Buffer> {
  if (key !== undefined && certificate !== undefined)
    throw fault('contradiction', 'a signature is checked with a key or with a certificate, not with both', BOTH)
  if (key === undefined && certificate === undefined)
    throw fault('contradiction', 'a signature can only be checked with a key or a certificate', BOTH)
  const bundle = parseBundle(text, shown)
  if (certificate !== undefined)
    return payloadByCertificate(bundle, trustedCertificates(await keyText(certificate), certificate), shown)
  return checkedPayload(bundle, publicKeyOf(await keyText(key!), key!), shown)
}
