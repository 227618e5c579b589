/** Signatures of models in the format of OpenSSF Model Signing. */
import { stat } from 'node:fs/promises'
import path from 'node:path'
import { OUTPUT } from '../checkpoints/containers/index.js'
import { MODEL_SIG } from '../checkpoints/sidecarNames.js'
import { type Diagnostic, Fault, fault } from '../core/diagnostics.js'
import { withSlashes } from '../core/names/fileNames.js'
import { formatSize } from '../core/sizes.js'
import { quote } from '../core/suggest.js'
import { byteProgress } from '../execute/byteProgress.js'
import type { Listener } from '../execute/events.js'
import type { Sums } from '../execute/hashing/sums.js'
import { withPace } from '../execute/paced.js'
import { exists, findLineage } from '../lineage/disk.js'
import { PROVENANCE, slsaStatement } from '../lineage/forms/standard/slsa.js'
import { signedBundle } from '../signing/bundle.js'
import { checkFiles } from '../signing/check.js'
import { filesOf, GIT_PATHS, type SignedModel, shortPath } from '../signing/files.js'
import { privateKeyOf } from '../signing/keys.js'
import { parseManifest } from '../signing/manifest.js'
import { compareSubjects, hashNamed, parseSubjects } from '../signing/provenance.js'
import { signModel } from '../signing/sign.js'
import type { Resource } from '../signing/types.js'
import { writtenBeside } from './proof/besideLineage.js'
import {
  ATTESTATION,
  attestationOf,
  bundleAt,
  keyText,
  MOST_BUNDLE,
  payloadIn,
  signatureOf,
  textOf,
} from './proof/signatureFiles.js'
import type { SignedList, Trust } from './proof/trust.js'

/** How a model is signed. */
export interface SignOptions {
  /** The path of the private key: PEM, elliptic curve P-256, P-384 or P-521. */
  readonly key: string
  /** Paths in the folder that the signature does not cover. A folder stands for everything in it. */
  readonly ignore?: readonly string[]
  /** Also sign SLSA provenance, which follows from the lineage of the model. Default: false. */
  readonly attest?: boolean
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
  /** With `attest`: the signed provenance, `provenance.sig` in the folder or `NAME.provenance.sig` next to a file. */
  readonly attestation?: { readonly path: string; readonly text: string }
}

/** What a signature is checked with: a public key, or the certificate of an issuer. */
export interface SignatureOptions {
  /** The path of the public key in PEM. */
  readonly key?: string
  /** The path of certificates in PEM that the user trusts. */
  readonly certificate?: string
  /** The path of the signature. Default: `model.sig` in the folder, `NAME.sig` next to a file. */
  readonly signature?: string
  /**
   * Paths in the folder that were ignored when it was signed, for bundles that do not say so themselves (model_signing before 1.1). Files
   * in them need not be signed. Those that are signed are compared all the same.
   */
  readonly ignore?: readonly string[]
}

/** The model that a path means: a folder, a file, or what a lineage is about. Error: `missing-model`. */
async function modelAt(asked: string): Promise<SignedModel> {
  const { dir, base } = path.parse(asked)
  const given = base === 'lineage.json' ? dir || '.' : asked.replace(/\.lineage\.json$/, OUTPUT.extension)
  const entry = await stat(given).catch(() => undefined)
  if (!entry)
    throw fault('missing-model', `${given}: there is no such file or folder`, 'give the folder or the file of a model')
  return { place: given, isFile: !entry.isDirectory() }
}

/**
 * Signs a model as OpenSSF Model Signing 1.0 describes it: a Sigstore bundle around a statement that lists all files with their
 * SHA-256. `model_signing verify key` of the standard's own tool checks it. Writes nothing.
 *
 * @throws `missing-model` if there is no such file or folder
 * @throws `bad-signing-key` for keys that the standard does not accept
 * @throws `file-exists` if there is a signature, without `force`
 * @throws `signed-files` if the model has links or no files
 * @throws `bad-flag` if a path of `ignore` is not inside of the model
 * @throws `cannot-read` if a file cannot be read
 * @throws with `attest`: `missing-lineage` or `bad-lineage`, `missing-sha256` if the lineage has no SHA-256 of a file, and `signed-files`
 * if a file is not the one of the lineage
 */
export const sign = (
  given: string,
  { key, ignore = [], attest = false, force = false, listen, signal }: SignOptions,
): Promise<Signed> =>
  withPace(listen, async (listen) => {
    const model = await modelAt(given)
    const signing = privateKeyOf(await keyText(key), key)
    const place = signatureOf(model)
    const provenance = attest ? await provenanceOf(given) : undefined
    for (const file of [place, ...(attest ? [attestationOf(model)] : [])])
      if (!force && (await exists(file)))
        throw fault('file-exists', `${file} already exists`, 'add --force to replace it')
    const own = model.isFile ? [] : [MODEL_SIG, ATTESTATION]
    const ignored = [...own, ...ignore.map(ignoredPath)]
    const total = await bytesOf(model, [...ignored, ...GIT_PATHS])
    const progress = byteProgress(listen, 'sign', total)
    const text = `hashing ${formatSize(total)}`
    const signed = await signModel(model, signing, {
      ignored,
      signal,
      progress: (bytes) => progress.add(bytes, text),
    })
    progress.end(text)
    const files = signed.resources.length
    if (provenance === undefined) return { path: place, text: signed.text, files }
    const subjects = parseSubjects(Buffer.from(provenance), PROVENANCE, given)
    const found = await hashNamed(model, subjects, own, { signal }, signed.resources)
    const differing = compareSubjects(subjects, found, model.isFile)
    if (differing.length > 0) throw new Fault(differing)
    const attestation = { path: attestationOf(model), text: signedBundle(provenance, signing) }
    return { path: place, text: signed.text, files, attestation }
  })

/** A path as bundles have it: relative to the folder, and in its shortest form. Others would not be understood. Error: `bad-flag`. */
function ignoredPath(given: string): string {
  const found = shortPath(withSlashes(given))
  if (found !== '.' && !/^(\.\.)?(\/|$)/.test(found)) return found
  throw fault(
    'bad-flag',
    `--ignore ${quote(given)} is not a path inside of the model`,
    'give it relative to its folder',
  )
}

/** The provenance of a model, from its lineage. Errors: those of `findLineage`, `missing-sha256`. */
async function provenanceOf(given: string): Promise<string> {
  const read = await findLineage(given)
  return slsaStatement(read.lineage, read.file, await writtenBeside(read))
}

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
  /** Whether signed provenance was there, and is right. */
  readonly attested?: boolean
}

/**
 * Checks a signature, and that the model has exactly the signed files. Differences, and a signature that is not right, are errors in
 * the result. Throws `missing-model`, `bad-signing-key`, `missing-signature`, `cannot-read`, `contradiction`, `bad-flag`.
 */
export async function checkSignature(
  given: string,
  options: SignatureOptions,
  { listen, signal, sums }: Pick<SignOptions, 'listen' | 'signal'> & { readonly sums?: Sums },
): Promise<CheckedSignature> {
  const ignored = (options.ignore ?? []).map(ignoredPath)
  const model = await modelAt(given)
  const place = options.signature ?? signatureOf(model)
  const bundle = await bundleAt(place, model.place, 'name it with --signature, or sign the model with terge sign')
  const attestation = attestationOf(model)
  if (path.resolve(place) === path.resolve(attestation)) return checkAttestation(model, place, bundle, options, signal)
  const parsed = await unlessBad(async () => parseManifest(await payloadIn(bundle, options, place), place))
  if ('problems' in parsed) return { ...parsed, files: 0, bytes: 0 }
  const manifest = parsed.value
  // The signature itself cannot be in what it signs.
  const inside = withSlashes(path.relative(path.resolve(model.place), path.resolve(place)))
  const own = model.isFile ? [] : [MODEL_SIG, inside]
  const total = await bytesOf(model, [...manifest.serialization.ignored, ...own])
  const progress = byteProgress(listen, 'signature', total)
  const text = 'comparing files with the signature'
  const checked = await checkFiles(model, manifest, own, {
    ...{ signal, sumOf: sums?.of, ignored },
    progress: (bytes) => progress.add(bytes, text),
  })
  progress.end(text)
  if (options.signature !== undefined || !(await exists(attestation))) return checked
  const other = await textOf(attestation, MOST_BUNDLE, () => fault('missing-signature', `${attestation} is gone`))
  const { method, hash } = manifest.serialization
  // Files that were just hashed are not read again.
  const known =
    checked.problems.length === 0 && method === 'files' && hash === 'sha256' ? manifest.resources : undefined
  const { problems, attested } = await checkAttestation(model, attestation, other, options, signal, known)
  return { ...checked, problems: [...checked.problems, ...problems], attested: attested === true }
}

/**
 * The list of files that a signature signs, after the signature was checked. Compares no files. `shown`: the model as the user wrote it. Errors: `missing-signature`,
 * `bad-signature`, `bad-signing-key`, `contradiction`.
 */
export async function signedList(
  model: { readonly place: string; readonly isFile: boolean },
  trust: Trust,
  shown = model.place,
): Promise<SignedList> {
  const place = signatureOf(model)
  const hint = `get it from its signer, or sign it: terge sign ${shown} --key key.pem`
  const bundle = await bundleAt(place, shown, hint)
  return parseManifest(await payloadIn(bundle, trust, place), place)
}

/** The errors of work that is about a signature as values. */
async function unlessBad<T>(
  work: () => Promise<T>,
): Promise<{ readonly value: T } | { readonly problems: readonly Diagnostic[] }> {
  try {
    return { value: await work() }
  } catch (error) {
    if (!(error instanceof Fault) || error.diagnostics.some(({ code }) => code !== 'bad-signature')) throw error
    return { problems: error.diagnostics }
  }
}

/** Checks signed provenance: its signature, and that it is about the files that are there. */
async function checkAttestation(
  model: SignedModel,
  place: string,
  bundle: string,
  options: SignatureOptions,
  signal: AbortSignal | undefined,
  known?: readonly Resource[],
): Promise<CheckedSignature> {
  const parsed = await unlessBad(async () => parseSubjects(await payloadIn(bundle, options, place), PROVENANCE, place))
  if ('problems' in parsed) return { ...parsed, files: 0, bytes: 0, attested: false }
  let bytes = 0
  const progress = (more: number): void => {
    bytes += more
  }
  const own = model.isFile ? [] : [MODEL_SIG, ATTESTATION]
  const files = await hashNamed(model, parsed.value, own, { signal, progress }, known)
  const problems = compareSubjects(parsed.value, files, model.isFile)
  return { problems, files: files.length, bytes, attested: problems.length === 0 }
}

/** The signature of a model, if there is one where it belongs. */
export async function signatureBeside(given: string): Promise<string | undefined> {
  const model = await modelAt(given).catch(() => undefined)
  const place = model && signatureOf(model)
  return place !== undefined && (await stat(place).catch(() => undefined))?.isFile() ? place : undefined
}
