/** Signatures of models in the format of OpenSSF Model Signing. */
import { stat } from 'node:fs/promises'
import path from 'node:path'
import { OUTPUT, withoutExtension } from '../checkpoints/containers/index.js'
import { type Diagnostic, Fault, fault } from '../core/diagnostics.js'
import { withSlashes } from '../core/names/fileNames.js'
import { formatSize } from '../core/sizes.js'
import { byteProgress } from '../execute/byteProgress.js'
import type { Listener } from '../execute/events.js'
import { withPace } from '../execute/paced.js'
import { exists, readText } from '../lineage/disk.js'
import { checkedPayload, parseBundle } from '../signing/bundle.js'
import { payloadByCertificate, trustedCertificates } from '../signing/certificates.js'
import { checkFiles } from '../signing/check.js'
import { filesOf, GIT_PATHS, type SignedModel } from '../signing/files.js'
import { privateKeyOf, publicKeyOf } from '../signing/keys.js'
import { parseManifest } from '../signing/manifest.js'
import { signModel } from '../signing/sign.js'
import type { Manifest } from '../signing/types.js'

/** How a model is signed. */
export interface SignOptions {
  /** The path of the private key: PEM, elliptic curve P-256, P-384 or P-521. */
  readonly key: string
  /** Paths in the folder that the signature does not cover. A folder stands for everything in it. */
  readonly ignore?: readonly string[]
  /** Whether an existing signature may be replaced. Default: false. */
  readonly force?: boolean
  /** Called with the progress, as events. */
  readonly listen?: Listener
  /** Ends the work early. */
  readonly signal?: AbortSignal
}

/** A signature that has been made, but not written. */
export interface Signed {
  /** The path of the signature: `model.sig` in the folder, `NAME.sig` next to a file. */
  readonly path: string
  /** The bundle. */
  readonly text: string
  /** Number of files that it covers. */
  readonly files: number
}

/** What a signature is checked with: a public key, or the certificate of an issuer. */
export interface SignatureOptions {
  /** The path of the public key in PEM. */
  readonly key?: string
  /** The path of certificates in PEM that the user trusts. */
  readonly certificate?: string
  /** The path of the signature. Default: `model.sig` in the folder, `NAME.sig` next to a file. */
  readonly signature?: string
}

/** The name of a folder's signature. */
const MODEL_SIG = 'model.sig'
/** Signatures of other statements about a model in the same folder. */
const ATTESTATION = 'provenance.sig'
/** In bytes: more than keys and certificates need. */
const MOST_KEY = 2 ** 20
/** In bytes: a manifest with hundreds of thousands of files. */
const MOST_BUNDLE = 64 * 2 ** 20

/** The model that a path means: a folder, a file, or what a lineage is about. Error: `missing-model`. */
async function modelAt(asked: string): Promise<SignedModel> {
  const { dir, base } = path.parse(asked)
  const given = base === 'lineage.json' ? dir || '.' : asked.replace(/\.lineage\.json$/, OUTPUT.extension)
  const entry = await stat(given).catch(() => undefined)
  if (!entry)
    throw fault('missing-model', `${given}: there is no such file or folder`, 'give the folder or the file of a model')
  return { place: given, isFile: !entry.isDirectory() }
}

/** Where the signature of a model is. */
const signatureOf = ({ place, isFile }: SignedModel): string =>
  isFile ? `${withoutExtension(place)}.sig` : path.join(place, MODEL_SIG)

async function textOf(file: string, most: number, missing: () => unknown): Promise<string> {
  const text = await readText(file, most)
  if (text === undefined) throw missing()
  return text
}

const keyText = (file: string): Promise<string> =>
  textOf(file, MOST_KEY, () =>
    fault('bad-signing-key', `${file}: there is no such file`, 'give the path of a key in PEM'),
  )

/**
 * Signs a model as OpenSSF Model Signing 1.0 describes it: a Sigstore bundle around a statement that lists all files with their
 * SHA-256. `model_signing verify key` of the standard's own tool checks it. Writes nothing.
 *
 * @throws `missing-model` if there is no such file or folder
 * @throws `bad-signing-key` for keys that the standard does not accept
 * @throws `file-exists` if there is a signature, without `force`
 * @throws `signed-files` if the model has links or no files
 * @throws `cannot-read` if a file cannot be read
 */
export const sign = (
  given: string,
  { key, ignore = [], force = false, listen, signal }: SignOptions,
): Promise<Signed> =>
  withPace(listen, async (listen) => {
    const model = await modelAt(given)
    const signing = privateKeyOf(await keyText(key), key)
    const place = signatureOf(model)
    if (!force && (await exists(place)))
      throw fault('file-exists', `${place} already exists`, 'add --force to replace it')
    const own = model.isFile ? [] : [MODEL_SIG, ATTESTATION]
    const ignored = [...own, ...ignore.map((one) => one.replace(/\/+$/, ''))]
    const total = await bytesOf(model, [...ignored, ...GIT_PATHS])
    const progress = byteProgress(listen, 'sign', total)
    const text = `hashing ${formatSize(total)}`
    const signed = await signModel(model, signing, {
      ignored,
      signal,
      progress: (bytes) => progress.add(bytes, text),
    })
    progress.end(text)
    return { path: place, text: signed.text, files: signed.names.length }
  })

async function bytesOf(model: SignedModel, ignored: readonly string[]): Promise<number> {
  let total = 0
  for (const file of await filesOf(model, ignored)) total += (await stat(file.path).catch(() => undefined))?.size ?? 0
  return total
}

/** The result of checking a signature. */
export interface CheckedSignature {
  /** Errors for files that differ, are missing, or were added. */
  readonly problems: readonly Diagnostic[]
  readonly files: number
  readonly bytes: number
}

/**
 * Checks a signature, and that the model has exactly the signed files. Differences, and a signature that is not right, are errors in
 * the result. Throws `missing-model`, `bad-signing-key`, `missing-signature`, `cannot-read`, `contradiction`.
 */
export async function checkSignature(
  given: string,
  options: SignatureOptions,
  { listen, signal }: Pick<SignOptions, 'listen' | 'signal'>,
): Promise<CheckedSignature> {
  const model = await modelAt(given)
  const place = options.signature ?? signatureOf(model)
  const bundle = await textOf(place, MOST_BUNDLE, () =>
    fault(
      'missing-signature',
      `${model.place} has no signature: there is no ${place}`,
      'name it with --signature, or sign the model with terge sign',
    ),
  )
  let manifest: Manifest
  try {
    manifest = parseManifest(await payloadIn(bundle, options, place), place)
  } catch (error) {
    if (!(error instanceof Fault) || error.diagnostics.some(({ code }) => code !== 'bad-signature')) throw error
    return { problems: error.diagnostics, files: 0, bytes: 0 }
  }
  // The signature itself cannot be in what it signs.
  const inside = withSlashes(path.relative(path.resolve(model.place), path.resolve(place)))
  const own = model.isFile ? [] : [MODEL_SIG, inside]
  const total = await bytesOf(model, [...manifest.serialization.ignored, ...own])
  const progress = byteProgress(listen, 'signature', total)
  const text = 'comparing files with the signature'
  const checked = await checkFiles(model, manifest, own, { signal, progress: (bytes) => progress.add(bytes, text) })
  progress.end(text)
  return checked
}

const BOTH = 'give --key or --certificate'

/** The signed payload of a bundle, after its signature was checked. Error: `bad-signature`. */
async function payloadIn(text: string, { key, certificate }: SignatureOptions, shown: string): Promise<Buffer> {
  if (key !== undefined && certificate !== undefined)
    throw fault('contradiction', 'a signature is checked with a key or with a certificate, not with both', BOTH)
  if (key === undefined && certificate === undefined)
    throw fault('contradiction', 'a signature can only be checked with a key or a certificate', BOTH)
  const bundle = parseBundle(text, shown)
  if (certificate !== undefined)
    return payloadByCertificate(bundle, trustedCertificates(await keyText(certificate), certificate), shown)
  return checkedPayload(bundle, publicKeyOf(await keyText(key!), key!), shown)
}

/** The signature of a model, if there is one where it belongs. */
export async function signatureBeside(given: string): Promise<string | undefined> {
  const model = await modelAt(given).catch(() => undefined)
  const place = model && signatureOf(model)
  return place !== undefined && (await stat(place).catch(() => undefined))?.isFile() ? place : undefined
}
